// The return value of all functions here: zero or more on success, or else the negative errno.

#ifndef CK_OUTCOME_H
#define CK_OUTCOME_H

#include <errno.h>

static inline int outcome(long result) { return result < 0 ? -errno : (int)result; }

#endif
