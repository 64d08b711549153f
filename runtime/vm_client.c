/* The control socket of a container's machine, for verbs: one request, one reply. */
#include <string.h>
#include <sys/socket.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/str.h"
#include "runtime/vm_level.h"

#define REPLY_SEQ 1

int vm_connect(const struct container *c, struct err *e)
{
	int fd = unix_connect_at(SOCK_STREAM, c->dirfd, VM_CONTROL);

	if (fd < 0)
		return err_errno(
		    e, -fd, "container \"%s\": connect to its machine's monitor", c->id);
	return fd;
}

int vm_send(int sock, enum gp_type type, uint32_t seq, const void *body, size_t n, struct err *e)
{
	const struct gp_header h = { .length = (uint32_t)n, .type = (uint16_t)type, .seq = seq };
	int r;

	if (n > GP_MAX_TO_GUEST)
		return err_set(e, E2BIG, "%s: %zu bytes, a machine takes %u",
		    gp_type_name((uint16_t)type), n, GP_MAX_TO_GUEST);
	r = fd_write_all(sock, &h, sizeof(h));
	if (r == 0 && n)
		r = fd_write_all(sock, body, n);
	return r < 0 ? err_errno(
			   e, -r, "send %s to the machine's monitor", gp_type_name((uint16_t)type))
		     : 0;
}

/* 1, or 0 at the end of the stream. */
static int read_full(int sock, void *buf, size_t n)
{
	char *at = buf;

	while (n) {
		ssize_t k = recv(sock, at, n, 0);

		if (k < 0 && errno == EINTR)
			continue;
		if (k <= 0)
			return k < 0 ? -errno : 0;
		at += k;
		n -= (size_t)k;
	}
	return 1;
}

static int received(int r, struct err *e)
{
	if (r == 0)
		return err_set(e, ECONNRESET, "the machine has ended");
	return r < 0 ? err_errno(e, -r, "receive from the machine's monitor") : 0;
}

int vm_receive(int sock, struct gp_header *ret, uint8_t **ret_body, struct err *e)
{
	_cleanup_free_ uint8_t *body = NULL;
	int r = received(read_full(sock, ret, sizeof(*ret)), e);

	if (r < 0 || (r = gp_check_header(ret, GP_TO_HOST, e)) < 0)
		return r;
	body = xcalloc(1, ret->length + 1);
	if (ret->length && (r = received(read_full(sock, body, ret->length), e)) < 0)
		return r;
	*ret_body = steal_ptr(body);
	return 0;
}

int vm_request(
    int sock, enum gp_type type, const void *body, size_t n, char **ret_json, struct err *e)
{
	int r = vm_send(sock, type, REPLY_SEQ, body, n, e);

	while (r == 0) {
		_cleanup_free_ uint8_t *reply = NULL;
		struct gp_header h;

		r = vm_receive(sock, &h, &reply, e);
		if (r < 0)
			return r;
		if (h.seq != REPLY_SEQ)
			continue; /* GP_OOM */
		if (h.type == GP_ERROR)
			return channel_error(reply, h.length, e);
		if (ret_json)
			*ret_json = (char *)steal_ptr(reply);
		return 0;
	}
	return r;
}
