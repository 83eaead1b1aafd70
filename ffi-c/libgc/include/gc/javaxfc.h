/* javaxfc.h: what implementations of Java and similar languages need besides gc.h.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef GC_JAVAXFC_H
#define GC_JAVAXFC_H
#include "gc.h"
#ifdef __cplusplus
extern "C" {
#endif

/* Runs every registered finalizer, also of reachable objects, until none is left: for the end of a program. */
GC_API void GC_CALL GC_finalize_all(void);

#ifdef GC_THREADS
#ifndef GC_SUSPEND_THREAD_ID
#define GC_SUSPEND_THREAD_ID pthread_t
#endif
/* Stops a thread until it is resumed. It must not be stopped while it holds a lock that others need. */
GC_API void GC_CALL GC_suspend_thread(GC_SUSPEND_THREAD_ID);
GC_API void GC_CALL GC_resume_thread(GC_SUSPEND_THREAD_ID);
GC_API int GC_CALL GC_is_thread_suspended(GC_SUSPEND_THREAD_ID);
#endif

#ifdef __cplusplus
}
#endif
#endif
