// zlib for reading compressed logs. Only the target Gzip imports this.
#include <zlib.h>
