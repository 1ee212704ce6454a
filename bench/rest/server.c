/*-------------------------------------------------------------------------
 *
 * server.c
 *	  A source that answers every request after the same time and costs nothing else.
 *
 * usage: server PORT_FILE LATENCY_MS NAME=DIRECTORY...
 *
 * Each directory has files 0.json, 1.json, ...: the pages of the set NAME, 100 records
 * each, compressed once at the start.  Answers, over kept-alive connections on a free port
 * of loopback that is written to PORT_FILE:
 *
 *	  /NAME?pages=P&page=N   page N of P, with X-Total: 100 * P and X-Pages: P; beyond P an empty one
 *	  /NAME/item/N           the one page of item N
 *
 * With etag=1 in the query answers have an ETag, and are 304 when the request names one.
 * gzip when the request names it.  One thread, epoll, a queue of answers that are due in
 * the order they were asked for.
 *
 *-------------------------------------------------------------------------
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>
#include <zlib.h>

#define RECORDS_OF_PAGE 100
#define MAX_SETS 8
#define MAX_PAGES 64
#define MAX_CONNECTIONS 4096

typedef struct content
{
	char *plain;
	size_t plain_length;
	char *packed;
	size_t packed_length;
} content;

typedef struct page_set
{
	char *name;
	content pages[MAX_PAGES];
	int count;
} page_set;

/* One connection: a request at a time, as HTTP/1.1 without pipelining has it. */
typedef struct connection
{
	int fd;
	char request[8192];
	size_t request_length;
	bool waiting; /* in the queue */
	int64_t due;  /* ns */
	struct connection *next;
	char head[256];
	struct iovec answer[2];
	bool writing;
} connection;

static page_set sets[MAX_SETS];
static int set_count;
static int64_t latency; /* ns */
static connection *first, *last;
static int epoll, timer;
static connection timer_mark, listener_mark;

static void
die(const char *what)
{
	perror(what);
	exit(1);
}

static int64_t
now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * INT64_C(1000000000) + t.tv_nsec;
}

static void
pack(content *c)
{
	z_stream stream = {0};

	/* what servers do: gzip at its usual level */
	if (deflateInit2(&stream, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) != Z_OK)
		die("deflateInit2");
	c->packed_length = deflateBound(&stream, c->plain_length);
	c->packed = malloc(c->packed_length);
	stream.next_in = (Bytef *) c->plain;
	stream.avail_in = c->plain_length;
	stream.next_out = (Bytef *) c->packed;
	stream.avail_out = c->packed_length;
	if (deflate(&stream, Z_FINISH) != Z_STREAM_END)
		die("deflate");
	c->packed_length = stream.total_out;
	deflateEnd(&stream);
}

static void
read_set(char *argument)
{
	page_set *set = &sets[set_count++];
	char *directory = strchr(argument, '=');

	if (directory == NULL || set_count > MAX_SETS)
		die(argument);
	*directory++ = '\0';
	set->name = argument;
	for (; set->count < MAX_PAGES; set->count++)
	{
		content *c = &set->pages[set->count];
		char path[4096];
		struct stat status;
		int file;

		snprintf(path, sizeof(path), "%s/%d.json", directory, set->count);
		file = open(path, O_RDONLY);
		if (file < 0 || fstat(file, &status) != 0)
			break;
		c->plain_length = status.st_size;
		c->plain = malloc(c->plain_length);
		if (read(file, c->plain, c->plain_length) != (ssize_t) c->plain_length)
			die(path);
		close(file);
		pack(c);
	}
	if (set->count == 0)
		die(directory);
}

static void
set_timer(void)
{
	struct itimerspec when = {0};
	int64_t due = first ? first->due : 0;

	when.it_value.tv_sec = due / 1000000000;
	when.it_value.tv_nsec = due % 1000000000;
	timerfd_settime(timer, TFD_TIMER_ABSTIME, &when, NULL);
}

static void
watch(connection *c, uint32_t events, int operation)
{
	struct epoll_event event = {.events = events, .data.ptr = c};

	if (epoll_ctl(epoll, operation, c->fd, &event) != 0)
		die("epoll_ctl");
}

static void
drop(connection *c)
{
	close(c->fd);
	c->fd = -1;
	if (!c->waiting)
		free(c);
}

/* The number after "name" in a request line; 0 when it is not there. */
static long
number_after(const char *line, const char *name)
{
	const char *found = strstr(line, name);

	return found ? strtol(found + strlen(name), NULL, 10) : 0;
}

/* Fills in the answer to a request whose head is whole. */
static void
answer(connection *c)
{
	static const content nothing = {.plain = "[]", .plain_length = 2};
	static const content unchanged = {.plain = "", .plain_length = 0};
	const content *body = &nothing;
	char *line_end = strchr(c->request, '\r');
	bool gzip;
	bool tagged;
	long pages, page;
	int status = 404;

	*line_end = '\0';
	pages = number_after(c->request, "pages=");
	page = number_after(c->request, "&page=") + number_after(c->request, "/item/");
	gzip = strcasestr(line_end + 1, "accept-encoding: gzip") != NULL;
	for (int i = 0; i < set_count; i++)
	{
		size_t length = strlen(sets[i].name);

		if (strncmp(c->request, "GET /", 5) != 0 || strncmp(c->request + 5, sets[i].name, length) != 0 ||
			strchr("?/ ", c->request[5 + length]) == NULL)
			continue;
		status = 200;
		if (pages == 0 || page <= pages)
			body = &sets[i].pages[page % sets[i].count];
	}
	tagged = status == 200 && strstr(c->request, "etag=1") != NULL;
	if (tagged && strcasestr(line_end + 1, "if-none-match: ") != NULL)
	{
		status = 304;
		body = &unchanged;
	}
	gzip = gzip && body->packed != NULL;
	c->answer[0].iov_base = c->head;
	c->answer[0].iov_len = snprintf(
		c->head, sizeof(c->head),
		"HTTP/1.1 %d %s\r\nContent-Type: application/json\r\n%s%sX-Total: %ld\r\nX-Pages: %ld\r\nContent-Length: %zu\r\n\r\n",
		status, status == 404 ? "Not Found" : "OK", gzip ? "Content-Encoding: gzip\r\n" : "",
		tagged ? "ETag: \"a\"\r\n" : "", pages * RECORDS_OF_PAGE, pages, gzip ? body->packed_length : body->plain_length);
	c->answer[1].iov_base = gzip ? body->packed : body->plain;
	c->answer[1].iov_len = gzip ? body->packed_length : body->plain_length;
	c->request_length = 0;
}

static void
write_answer(connection *c)
{
	ssize_t sent = writev(c->fd, c->answer, 2);

	if (sent < 0 && errno != EAGAIN)
	{
		drop(c);
		return;
	}
	for (int i = 0; i < 2 && sent > 0; i++)
	{
		size_t part = (size_t) sent < c->answer[i].iov_len ? (size_t) sent : c->answer[i].iov_len;

		c->answer[i].iov_base = (char *) c->answer[i].iov_base + part;
		c->answer[i].iov_len -= part;
		sent -= part;
	}
	if (c->answer[1].iov_len > 0 && !c->writing)
		watch(c, EPOLLIN | EPOLLOUT, EPOLL_CTL_MOD);
	else if (c->answer[1].iov_len == 0 && c->writing)
		watch(c, EPOLLIN, EPOLL_CTL_MOD);
	c->writing = c->answer[1].iov_len > 0;
}

static void
read_request(connection *c)
{
	ssize_t got = read(c->fd, c->request + c->request_length,
					   sizeof(c->request) - 1 - c->request_length);

	if (got <= 0)
	{
		if (got == 0 || errno != EAGAIN)
			drop(c);
		return;
	}
	c->request_length += got;
	c->request[c->request_length] = '\0';
	if (strstr(c->request, "\r\n\r\n") == NULL)
	{
		if (c->request_length == sizeof(c->request) - 1)
			drop(c);
		return;
	}
	answer(c);
	c->due = now() + latency;
	c->waiting = true;
	c->next = NULL;
	if (first == NULL)
		first = c;
	else
		last->next = c;
	last = c;
	if (first == c)
		set_timer();
}

static void
answer_due(void)
{
	uint64_t ticks;
	int64_t at = now();

	while (read(timer, &ticks, sizeof(ticks)) > 0)
		;
	while (first != NULL && first->due <= at)
	{
		connection *c = first;

		first = c->next;
		c->waiting = false;
		if (c->fd < 0)
			free(c);
		else
			write_answer(c);
	}
	set_timer();
}

static void
accept_all(int listener)
{
	int fd;

	while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0)
	{
		connection *c = calloc(1, sizeof(connection));
		int one = 1;

		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
		c->fd = fd;
		watch(c, EPOLLIN, EPOLL_CTL_ADD);
	}
}

int
main(int count, char **arguments)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t length = sizeof(address);
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	FILE *port_file;

	if (count < 4)
	{
		fprintf(stderr, "usage: server PORT_FILE LATENCY_MS NAME=DIRECTORY...\n");
		return 2;
	}
	signal(SIGPIPE, SIG_IGN);
	latency = strtod(arguments[2], NULL) * 1e6;
	for (int i = 3; i < count; i++)
		read_set(arguments[i]);
	if (bind(listener, (struct sockaddr *) &address, sizeof(address)) != 0 ||
		listen(listener, MAX_CONNECTIONS) != 0 ||
		getsockname(listener, (struct sockaddr *) &address, &length) != 0)
		die("bind");

	epoll = epoll_create1(0);
	timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
	timer_mark.fd = timer;
	listener_mark.fd = listener;
	watch(&timer_mark, EPOLLIN, EPOLL_CTL_ADD);
	watch(&listener_mark, EPOLLIN, EPOLL_CTL_ADD);

	port_file = fopen(arguments[1], "w");
	if (port_file == NULL || fprintf(port_file, "%d\n", ntohs(address.sin_port)) < 0 ||
		fclose(port_file) != 0)
		die(arguments[1]);

	for (;;)
	{
		struct epoll_event events[256];
		int happened = epoll_wait(epoll, events, 256, -1);

		for (int i = 0; i < happened; i++)
		{
			connection *c = events[i].data.ptr;

			if (c == &timer_mark)
				answer_due();
			else if (c == &listener_mark)
				accept_all(listener);
			else if (events[i].events & EPOLLOUT)
				write_answer(c);
			else
				read_request(c);
		}
	}
}
