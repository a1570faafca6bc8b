// The process: names of errors, privileges, limits, environment and memory.

#define _GNU_SOURCE
#include "CKernel.h"
#include "Outcome.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <linux/capability.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

_Static_assert(CAP_DAC_READ_SEARCH == ck_cap_dac_read_search, "the header names the capability by number");

const char *ck_error_name(int error) { return strerrorname_np(error); }
const char *ck_error_text(int error) { return strerrordesc_np(error); }

static int capability_call(long call, struct __user_cap_data_struct data[2]) {
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
    return outcome(syscall(call, &header, data));
}

int ck_effective_capabilities(uint64_t *set) {
    struct __user_cap_data_struct data[2];
    int result = capability_call(SYS_capget, data);
    if (result < 0) return result;
    *set = (uint64_t)data[1].effective << 32 | data[0].effective;
    return 0;
}

int ck_become(uint32_t uid, uint32_t gid, uint64_t capabilities) {
    // The bounding set comes first, because this needs CAP_SETPCAP. EINVAL: this kernel knows no further capability.
    for (unsigned long capability = 0; capability < 64; capability++) {
        if (capabilities >> capability & 1) continue;
        if (prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) < 0) {
            if (errno == EINVAL) break;
            return -errno;
        }
    }
    if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0) return -errno;
    if (prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) < 0) return -errno;
    if (setgroups(0, NULL) < 0) return -errno;
    if (setresgid(gid, gid, gid) < 0) return -errno;
    if (setresuid(uid, uid, uid) < 0) return -errno;
    if (prctl(PR_SET_KEEPCAPS, 0, 0, 0, 0) < 0) return -errno;
    struct __user_cap_data_struct data[2] = {
        {.effective = (uint32_t)capabilities, .permitted = (uint32_t)capabilities, .inheritable = 0},
        {.effective = capabilities >> 32, .permitted = capabilities >> 32, .inheritable = 0},
    };
    return capability_call(SYS_capset, data);
}

int ck_harden(void) {
    struct rlimit none = {0, 0};
    if (setrlimit(RLIMIT_CORE, &none) < 0) return -errno;
    if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0) return -errno;
    return outcome(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
}

int ck_raise_descriptor_limit(void) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0) return -errno;
    if (limit.rlim_cur != limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        if (setrlimit(RLIMIT_NOFILE, &limit) < 0) return -errno;
    }
    return limit.rlim_cur > INT_MAX ? INT_MAX : (int)limit.rlim_cur;
}

int ck_adopt(int descriptor) {
    if (fcntl(descriptor, F_SETFD, FD_CLOEXEC) < 0) return -errno;
    int flags = fcntl(descriptor, F_GETFL);
    if (flags < 0) return -errno;
    return outcome(fcntl(descriptor, F_SETFL, flags | O_NONBLOCK));
}

const char *ck_environment(const char *name) { return secure_getenv(name); }

int ck_keep_private(void *bytes, size_t count) {
    if (madvise(bytes, count, MADV_DONTDUMP) < 0) return -errno;
    return outcome(madvise(bytes, count, MADV_WIPEONFORK));
}
