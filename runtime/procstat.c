#include "runtime/procstat.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/str.h"

#define FIELD_STATE 3
#define FIELD_START 22

/* The command name may hold blanks and parentheses: the last ')' ends it. */
int procstat_parse(const char *line, struct procstat *ret)
{
	const char *p = strrchr(line, ')');
	char number[24];
	struct procstat st;
	size_t n;

	if (!p || p[1] != ' ' || !p[2])
		return -EBADMSG;
	p += 2;
	st.state = *p;
	for (int field = FIELD_STATE; field < FIELD_START; field++) {
		p = strchr(p, ' ');
		if (!p)
			return -EBADMSG;
		p++;
	}
	n = strcspn(p, " \n");
	if (n >= sizeof(number))
		return -EBADMSG;
	memcpy(number, p, n);
	number[n] = '\0';
	if (parse_u64(number, &st.start_time) < 0)
		return -EBADMSG;
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
