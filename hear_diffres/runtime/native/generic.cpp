// For any processor.
#define HD_VARIANT hd_generic
#define HD_NAME "generic"
#include "variant.h"
