/* The virtio-fs device under a driver without a guest: configuration, queues, threads, and what
 * happens when the driver errs or resets. */
#include <linux/virtio_fs.h>

#include "tests/unit/test.h"
#include "tests/unit/vm/driver.h"
#include "tests/unit/vm/fuse_client.h"
#include "vm/devices.h"

static struct client tree; /* its directories alone */
static struct driver v;

static struct virtio_device *device(const char *tag, unsigned threads, int want)
{
	struct err e = ERR_INIT;
	struct virtio_device *d = NULL;
	struct vm_fs fs = { .tag = tag,
		.root = open(tree.root, O_PATH | O_DIRECTORY | O_CLOEXEC),
		.self_fd = open("/proc/self/fd", O_PATH | O_DIRECTORY | O_CLOEXEC),
		.threads = threads };

	CHECK_INT(vm_fs_new(&fs, &d, &e), want);
	if (want < 0)
		CHECK(e.msg[0] != '\0');
	return d;
}

static void begin(unsigned threads)
{
	memset(&tree, 0, sizeof(tree));
	CHECK_INT(client_tree(&tree), 0);
	driver_init(&v, device("bailey", threads, 0), NULL, 0);
}

static void end(void)
{
	driver_free(&v);
	nftw(tree.top, client_unlink, 16, FTW_DEPTH | FTW_PHYS);
}

/* Puts a request into queue q, its answer at the address that is returned. */
static uint64_t request(
    unsigned q, uint32_t op, uint64_t node, const void *arg, uint32_t n, uint32_t room)
{
	struct fuse_in_header h = {
		.len = (uint32_t)sizeof(h) + n, .opcode = op, .unique = 5, .nodeid = node
	};
	uint64_t out = driver_alloc(&v, room + 16, 16);
	struct driver_seg s[] = { { driver_put(&v, &h, sizeof(h)), sizeof(h), false },
		{ n ? driver_put(&v, arg, n) : 0, n, false }, { out, room, true } };

	if (n == 0)
		s[1] = s[2];
	driver_add(&v, q, s, (n ? 2 : 1) + (room ? 1 : 0));
	driver_kick(&v, q);
	return out;
}

static const struct fuse_out_header *answer(unsigned q, uint64_t out)
{
	CHECK(driver_wait(&v, q, NULL) >= 0);
	return driver_ptr(&v, out, sizeof(struct fuse_out_header));
}

static int init_session(unsigned q)
{
	struct fuse_init_in in = { .major = 7, .minor = 38 };

	return answer(q, request(q, FUSE_INIT, 0, &in, sizeof(in), 16 + 64))->error;
}

TEST(what_it_says_of_itself)
{
	struct virtio_fs_config config;

	begin(3);
	virtio_mmio_read(v.d, VIRTIO_MMIO_CONFIG, config.tag, 36);
	virtio_mmio_read(v.d, VIRTIO_MMIO_CONFIG + 36, &config.num_request_queues, 4);
	CHECK(memcmp(config.tag, "bailey\0\0", 8) == 0);
	CHECK_INT(config.num_request_queues, 3);
	CHECK_INT(driver_read32(&v, VIRTIO_MMIO_DEVICE_ID), 26);
	end();
}

TEST(arguments_out_of_range)
{
	client_tree(&tree);
	device("", 1, -EINVAL);
	device("a-tag-of-thirty-seven-bytes-and-more-", 1, -EINVAL);
	device("bailey", 0, -EINVAL);
	device("bailey", VIRTIO_QUEUES_MAX, -EINVAL);
	rmdir(tree.root);
	device("bailey", 1, -EBADF); /* nothing to export */
	nftw(tree.top, client_unlink, 16, FTW_DEPTH | FTW_PHYS);
}

/* Every queue has a thread; forgets go over the first. */
TEST(requests_on_every_queue)
{
	struct fuse_getattr_in ga = { 0 };
	struct fuse_forget_in forget = { .nlookup = 1 };
	uint32_t len = 0;
	char path[512];

	begin(2);
	mkdir(c_path(&tree, "dir", path), 0755);
	CHECK_INT(init_session(1), 0);
	for (unsigned q = 0; q < 3; q++)
		CHECK_INT(answer(q, request(q, FUSE_GETATTR, 1, &ga, sizeof(ga), 200))->error, 0);
	CHECK(driver_interrupted(&v));
	uint64_t out = request(2, FUSE_LOOKUP, 1, "dir", 4, 200);
	CHECK_INT(answer(2, out)->error, 0);
	uint64_t node = ((struct fuse_entry_out *)driver_ptr(&v, out + 16, 128))->nodeid;
	request(0, FUSE_FORGET, node, &forget, sizeof(forget), 0);
	CHECK(driver_wait(&v, 0, &len) >= 0);
	CHECK_INT(len, 0);
	CHECK_INT(answer(1, request(1, FUSE_GETATTR, node, &ga, sizeof(ga), 200))->error, -ESTALE);
	end();
}

/* Data goes straight between the file and the segments, which lie apart. */
TEST(data_in_pieces)
{
	struct {
		struct fuse_in_header h;
		struct fuse_create_in in;
		char name[8];
	} create = { .h = { .len = sizeof(create), .opcode = FUSE_CREATE, .nodeid = 1 },
		.in = { .flags = O_RDWR, .mode = S_IFREG | 0644 },
		.name = "f" };
	struct {
		struct fuse_in_header h;
		struct fuse_write_in in;
	} wr = { .h = { .len = sizeof(wr) + 6000, .opcode = FUSE_WRITE }, .in = { .size = 6000 } };
	struct {
		struct fuse_in_header h;
		struct fuse_read_in in;
	} rd = { .h = { .len = sizeof(rd), .opcode = FUSE_READ }, .in = { .size = 6000 } };
	uint64_t out, a, b;

	begin(1);
	CHECK_INT(init_session(1), 0);
	out = driver_alloc(&v, 400, 16);
	struct driver_seg cs[] = { { driver_put(&v, &create, sizeof(create)), sizeof(create),
				       false },
		{ out, 400, true } };
	driver_add(&v, 1, cs, 2);
	driver_kick(&v, 1);
	CHECK_INT(answer(1, out)->error, 0);
	wr.h.nodeid = rd.h.nodeid =
	    ((struct fuse_entry_out *)driver_ptr(&v, out + 16, 128))->nodeid;
	wr.in.fh = rd.in.fh = ((struct fuse_open_out *)driver_ptr(&v, out + 16 + 128, 16))->fh;
	a = driver_alloc(&v, 4096, 4096);
	b = driver_alloc(&v, 4096, 4096);
	memset(driver_ptr(&v, a, 4096), 'a', 4096);
	memset(driver_ptr(&v, b, 1904), 'b', 1904);
	struct driver_seg ws[] = { { driver_put(&v, &wr, 24), 24, false },
		{ driver_put(&v, (char *)&wr + 24, sizeof(wr) - 24), sizeof(wr) - 24, false },
		{ a, 4096, false }, { b, 1904, false }, { out, 10, true }, { out + 10, 14, true } };
	driver_add_indirect(&v, 1, ws, 6);
	driver_kick(&v, 1);
	CHECK_INT(answer(1, out)->error, 0);
	CHECK_INT(((struct fuse_write_out *)driver_ptr(&v, out + 16, 8))->size, 6000);
	memset(driver_ptr(&v, a, 4096), 0, 4096);
	memset(driver_ptr(&v, b, 4096), 0, 4096);
	struct driver_seg rs[] = { { driver_put(&v, &rd, sizeof(rd)), sizeof(rd), false },
		{ out, 16, true }, { a, 4000, true }, { b, 3000, true } };
	driver_add(&v, 1, rs, 4);
	driver_kick(&v, 1);
	CHECK_INT(answer(1, out)->len, 16 + 6000);
	CHECK_INT(*(uint8_t *)driver_ptr(&v, a + 3999, 1), 'a');
	CHECK_INT(*(uint8_t *)driver_ptr(&v, b + 95, 1), 'a');
	CHECK_INT(*(uint8_t *)driver_ptr(&v, b + 96, 1), 'b');
	CHECK_INT(*(uint8_t *)driver_ptr(&v, b + 1999, 1), 'b');
	CHECK_INT(*(uint8_t *)driver_ptr(&v, b + 2000, 1), 0);
	end();
}

/* What cannot be answered stops the device; a reset brings it back, with nothing remembered. */
TEST(a_broken_driver_stops_the_device_until_reset)
{
	struct fuse_getattr_in ga = { 0 };
	struct driver_seg tiny = { 0x200000, 8, true };

	begin(2);
	CHECK_INT(init_session(1), 0);
	driver_add(&v, 2, &tiny, 1);
	driver_kick(&v, 2);
	for (int i = 0; i < 5000 && !driver_needs_reset(&v); i++)
		usleep(1000);
	CHECK(driver_needs_reset(&v));
	driver_up(&v, 0);
	CHECK(!driver_needs_reset(&v));
	CHECK_INT(answer(1, request(1, FUSE_GETATTR, 1, &ga, sizeof(ga), 200))->error, -EIO);
	CHECK_INT(init_session(2), 0);
	CHECK_INT(answer(1, request(1, FUSE_GETATTR, 1, &ga, sizeof(ga), 200))->error, 0);
	end();
}

/* Resets between requests, with workers at work. */
TEST(resets_at_any_time)
{
	struct fuse_getattr_in ga = { 0 };

	begin(2);
	for (int i = 0; i < 200; i++) {
		for (unsigned q = 1; q < 3; q++)
			request(q, FUSE_GETATTR, 1, &ga, sizeof(ga), 200);
		v.next = 0x1000;
		driver_up(&v, 0);
	}
	CHECK_INT(init_session(1), 0);
	end();
}

static int refuse(void *arg, struct err *e)
{
	return err_set(e, EPERM, "no thread for you");
}

TEST(a_thread_that_cannot_begin)
{
	struct err e = ERR_INIT;
	struct virtio_device *d;

	client_tree(&tree);
	d = device("bailey", 2, 0);
	CHECK_INT(guest_memory_new(DRIVER_MEMORY, &v.mem, &e), 0);
	CHECK_INT(virtio_attach(d, &v.mem, v.page, &e), 0);
	CHECK_INT(virtio_start(d, refuse, NULL, &e), -EPERM);
	CHECK_HAS(e.msg, "no thread for you");
	d->ops->free(d);
	guest_memory_free(&v.mem);
	nftw(tree.top, client_unlink, 16, FTW_DEPTH | FTW_PHYS);
}

TEST_MAIN(T(what_it_says_of_itself), T(arguments_out_of_range), T(requests_on_every_queue),
    T(data_in_pieces), T(a_broken_driver_stops_the_device_until_reset), T(resets_at_any_time),
    T(a_thread_that_cannot_begin))
