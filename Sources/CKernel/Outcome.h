// The result of a system call as all functions here return it: the negative errno, or zero and more.

#ifndef CK_OUTCOME_H
#define CK_OUTCOME_H

#include <errno.h>

static inline int outcome(long result) { return result < 0 ? -errno : (int)result; }

#endif
