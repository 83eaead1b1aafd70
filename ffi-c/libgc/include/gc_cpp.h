/* gc_cpp.h: see gc/gc_cpp.h. SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "gc/gc_cpp.h"
