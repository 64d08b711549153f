#include "runtime/procstat.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/str.h"

#define FIELD_STATE 3
#define FIELD_FLAGS 9
#define FIELD_START 22
#define PF_KTHREAD  0x00200000 /* include/linux/sched.h */

/* The field `to` of a line that is at field `from`. */
static int number_at(const char *at, int from, int to, uint64_t *ret)
{
	char number[24];
	size_t n;

	for (; from < to; from++) {
		at = strchr(at, ' ');
		if (!at)
			return -EBADMSG;
		at++;
	}
	n = strcspn(at, " \n");
	if (n >= sizeof(number))
		return -EBADMSG;
	memcpy(number, at, n);
	number[n] = '\0';
	return parse_u64(number, ret) < 0 ? -EBADMSG : 0;
}

/* The command name may hold blanks and parentheses: the last ')' ends it. */
int procstat_parse(const char *line, struct procstat *ret)
{
	const char *p = strrchr(line, ')');
	struct procstat st;
	uint64_t flags;

	if (!p || p[1] != ' ' || !p[2])
		return -EBADMSG;
	p += 2;
	st.state = *p;
	if (number_at(p, FIELD_STATE, FIELD_FLAGS, &flags) < 0 ||
	    number_at(p, FIELD_STATE, FIELD_START, &st.start_time) < 0)
		return -EBADMSG;
	st.kernel_thread = flags & PF_KTHREAD;
	*ret = st;
	return 0;
}

int procstat_read(pid_t pid, struct procstat *ret)
{
	char path[48];
	_cleanup_free_ char *line = NULL;
	int r;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	r = kfile_read(AT_FDCWD, path, &line);
	if (r == -ENOENT)
		return -ESRCH;
	return r < 0 ? r : procstat_parse(line, ret);
}
