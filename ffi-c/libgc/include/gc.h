/* gc.h: see gc/gc.h. SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "gc/gc.h"
