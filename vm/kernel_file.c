#include "vm/kernel_file.h"

#include <elf.h>
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/str.h"

#define SECTOR	       512u
#define HEAD_MAX       (66u * SECTOR) /* boot sector and at most 64 sectors of real-mode code */
#define SETUP_SECTS    0x1f1
#define BOOT_FLAG      0x1fe
#define HEADER_MAGIC   0x202
#define HEADER_VERSION 0x206
#define KERNEL_VERSION 0x20e /* offset of the text, less 0x200 */
#define XLOADFLAGS     0x236
#define XLF_KERNEL_64  1

#define BANNER	   "Linux version "
#define SCAN_CHUNK (256u << 10)
#define SCAN_MAX                                                                        \
	(256u << 20) /* the banner is read-only data, in front of all debug information \
		      */

static uint16_t le16(const uint8_t *p)
{
	return (uint16_t)(p[0] | p[1] << 8);
}

bool kernel_release_valid(const char *s)
{
	size_t n =
	    strspn(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._+~:-");

	return n > 0 && n <= KERNEL_RELEASE_MAX && s[n] == '\0' && s[0] != '.';
}

/* As much as there is of n bytes at offset; raw -errno. */
static ssize_t read_at(int fd, void *buf, size_t n, off_t offset)
{
	size_t done = 0;

	while (done < n) {
		ssize_t r = pread(fd, (char *)buf + done, n - done, offset + (off_t)done);

		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0)
			return -errno;
		if (r == 0)
			break;
		done += (size_t)r;
	}
	return (ssize_t)done;
}

/* The word at s, which has n bytes left and need not end; NULL if it is no release. */
static char *release_word(const char *s, size_t n)
{
	size_t len = 0;
	char *word;

	while (len < n && len <= KERNEL_RELEASE_MAX && s[len] != ' ' && s[len] != '\0')
		len++;
	word = xstrndup(s, len);
	if (len < n && kernel_release_valid(word))
		return word;
	free(word);
	return NULL;
}

static int bzimage(const uint8_t *head, size_t n, const char *path, char **ret, struct err *e)
{
	unsigned sects = head[SETUP_SECTS] ? head[SETUP_SECTS] : 4;
	size_t text = le16(head + KERNEL_VERSION) + 0x200u;
	size_t end = (sects + 1) * SECTOR;

	if (le16(head + HEADER_VERSION) < 0x20c || !(le16(head + XLOADFLAGS) & XLF_KERNEL_64))
		return err_set(e, ENOEXEC,
		    "%s: boot protocol %u.%02u without a 64-bit entry: a kernel for x86-64 of "
		    "Linux 3.8 or later is needed",
		    path, head[HEADER_VERSION + 1], head[HEADER_VERSION]);
	if (!ret)
		return 0;
	if (end > n)
		end = n;
	if (text == 0x200 || text >= end)
		return err_set(
		    e, ENOEXEC, "%s: the bzImage does not say its version: truncated?", path);
	*ret = release_word((const char *)head + text, end - text);
	if (!*ret)
		return err_set(e, ENOEXEC, "%s: the bzImage's version is no release name", path);
	return 0;
}

/*
 * Looks for the banner, chunk by chunk with an overlap: a mapping would raise SIGBUS if somebody
 * truncated the file meanwhile.
 */
static int elf_banner(int fd, const char *path, char **ret, struct err *e)
{
	const size_t overlap = sizeof(BANNER) - 1 + KERNEL_RELEASE_MAX + 2;
	_cleanup_free_ char *buf = xmalloc(SCAN_CHUNK);

	for (off_t at = 0; at < (off_t)SCAN_MAX; at += SCAN_CHUNK - overlap) {
		ssize_t n = read_at(fd, buf, SCAN_CHUNK, at);
		char *p = buf, *end;

		if (n < 0)
			return err_errno(e, (int)-n, "read %s", path);
		for (end = buf + n; (p = memmem(p, (size_t)(end - p), BANNER, strlen(BANNER)));) {
			p += strlen(BANNER);
			*ret = release_word(p, (size_t)(end - p));
			if (*ret)
				return 0;
		}
		if ((size_t)n < SCAN_CHUNK)
			break;
	}
	return err_set(
	    e, ENOEXEC, "%s: no \"" BANNER "…\" in the ELF file: is it a vmlinux?", path);
}

static int elf(const uint8_t *head, int fd, const char *path, char **ret, struct err *e)
{
	if (head[EI_CLASS] != ELFCLASS64 || head[EI_DATA] != ELFDATA2LSB ||
	    le16(head + offsetof(Elf64_Ehdr, e_machine)) != EM_X86_64)
		return err_set(e, ENOEXEC, "%s: an ELF file, but not for x86-64", path);
	if (!ret)
		return 0;
	return elf_banner(fd, path, ret, e);
}

int kernel_file_identify(
    int fd, const char *path, enum vm_kernel_format *ret, char **ret_release, struct err *e)
{
	_cleanup_free_ uint8_t *head = xmalloc(HEAD_MAX);
	ssize_t n = read_at(fd, head, HEAD_MAX, 0);
	enum vm_kernel_format format;
	int r;

	if (n < 0)
		return err_errno(e, (int)-n, "read %s", path);
	if (n > XLOADFLAGS + 1 && le16(head + BOOT_FLAG) == 0xaa55 &&
	    memcmp(head + HEADER_MAGIC, "HdrS", 4) == 0) {
		format = VM_KERNEL_BZIMAGE;
		r = bzimage(head, (size_t)n, path, ret_release, e);
	} else if (n > (ssize_t)sizeof(Elf64_Ehdr) && memcmp(head, ELFMAG, SELFMAG) == 0) {
		format = VM_KERNEL_ELF;
		r = elf(head, fd, path, ret_release, e);
	} else {
		return err_set(
		    e, ENOEXEC, "%s: neither a bzImage nor an ELF vmlinux for x86-64", path);
	}
	if (r == 0)
		*ret = format;
	return r;
}
