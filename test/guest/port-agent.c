/*
 * A program for the guest that does system calls on virtio-serial ports for a test on the host: one request a line
 * on standard input, one answer a line on standard output, each request in a thread of its own so that calls may
 * block. The logic of the tests is on the host (test/fedora); nothing here knows what is expected.
 *
 *   request   "ID WORD ARGUMENTS…"       answer   "#ID RESULT"
 *
 * A call that fails answers with the name of its error ("EAGAIN"). Build: gcc -O2 -static -pthread.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/select.h>
#include <sys/sendfile.h>
#include <sys/uio.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#define WORDS 16
#define LINE 512
/* Largest buffer of one call. */
#define BUFFER (4 << 20)
/* Requests that may be under way, by id modulo this. */
#define THREADS 64

struct request {
  char line[LINE];
  int count;
  char *word[WORDS];
};

static pthread_mutex_t output = PTHREAD_MUTEX_INITIALIZER;
static pthread_t threads[THREADS];
static volatile sig_atomic_t sigio_count;
static volatile int last_band;

static void answer(struct request *r, const char *format, ...) {
  char text[4 * LINE];
  va_list list;
  va_start(list, format);
  vsnprintf(text, sizeof text, format, list);
  va_end(list);
  pthread_mutex_lock(&output);
  printf("#%s %s\n", r->word[0], text);
  fflush(stdout);
  pthread_mutex_unlock(&output);
}

static void answer_error(struct request *r) { answer(r, "%s", strerrorname_np(errno)); }

static long number(struct request *r, int at) { return at < r->count ? strtol(r->word[at], NULL, 0) : 0; }

static int has(struct request *r, int from, const char *flag) {
  for (int i = from; i < r->count; i++)
    if (strcmp(r->word[i], flag) == 0) return 1;
  return 0;
}

static int64_t nanoseconds(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1000000000LL + t.tv_nsec;
}

/* The bytes of a test: what stands at an offset depends on the offset and the stream's seed. */
static void pattern(uint8_t *to, size_t length, uint64_t offset, unsigned seed) {
  for (size_t i = 0; i < length; i++, offset++)
    to[i] = (uint8_t)(offset * 7 + (offset >> 8) * 13 + (offset >> 16) * 31 + seed);
}

/* Index of the first byte that is not the pattern's, or -1. */
static ssize_t differs(const uint8_t *at, size_t length, uint64_t offset, unsigned seed) {
  for (size_t i = 0; i < length; i++, offset++)
    if (at[i] != (uint8_t)(offset * 7 + (offset >> 8) * 13 + (offset >> 16) * 31 + seed)) return i;
  return -1;
}

static const struct { const char *name; short bit; } EVENTS[] = {
  {"in", POLLIN}, {"out", POLLOUT}, {"pri", POLLPRI}, {"hup", POLLHUP}, {"err", POLLERR}, {"nval", POLLNVAL},
};

static void name_events(char *text, int bits) {
  *text = 0;
  for (size_t i = 0; i < sizeof EVENTS / sizeof *EVENTS; i++)
    if (bits & EVENTS[i].bit) strcat(strcat(text, *text ? "+" : ""), EVENTS[i].name);
  if (*text == 0) strcpy(text, "none");
}

static void call_open(struct request *r) {
  int flags = has(r, 3, "read") ? O_RDONLY : has(r, 3, "write") ? O_WRONLY : O_RDWR;
  if (has(r, 3, "nonblock")) flags |= O_NONBLOCK;
  if (has(r, 3, "create")) flags |= O_CREAT | O_TRUNC;
  int fd = open(r->word[2], flags | O_NOCTTY, 0600);
  if (fd < 0) answer_error(r);
  else answer(r, "%d", fd);
}

/* read FD BYTES: the count, and up to 32 bytes in hexadecimal. */
static void call_read(struct request *r) {
  size_t size = number(r, 3);
  uint8_t *buffer = malloc(size + 1);
  ssize_t got = read(number(r, 2), buffer, size);
  if (got < 0) answer_error(r);
  else {
    char hex[65] = "";
    for (ssize_t i = 0; i < got && i < 32; i++) sprintf(hex + 2 * i, "%02x", buffer[i]);
    answer(r, got > 0 ? "%zd %s" : "%zd", got, hex);
  }
  free(buffer);
}

/* write FD TEXT: one call. */
static void call_write(struct request *r) {
  ssize_t put = write(number(r, 2), r->word[3], strlen(r->word[3]));
  if (put < 0) answer_error(r);
  else answer(r, "%zd", put);
}

/* fill FD BYTES CHUNK SEED [once]: writes the pattern; "BYTES NANOSECONDS", or how far it came and the error. */
static void call_fill(struct request *r) {
  int fd = number(r, 2), once = has(r, 6, "once"), plain = has(r, 6, "plain");
  uint64_t total = strtoull(r->word[3], NULL, 0), done = 0;
  size_t chunk = number(r, 4);
  uint8_t *buffer = malloc(chunk);
  pattern(buffer, chunk, 0, number(r, 5));
  int64_t start = nanoseconds();
  while (done < total) {
    size_t want = total - done < chunk ? total - done : chunk;
    if (!plain) pattern(buffer, want, done, number(r, 5));
    ssize_t put = write(fd, buffer, want);
    if (put < 0) {
      answer(r, "%llu %s", (unsigned long long)done, strerrorname_np(errno));
      free(buffer);
      return;
    }
    done += put;
    if (once) break;
  }
  answer(r, "%llu %lld", (unsigned long long)done, (long long)(nanoseconds() - start));
  free(buffer);
}

/* drain FD BYTES CHUNK SEED [plain] [ack] [slow=MS]: reads and compares; "BYTES NANOSECONDS", or what was wrong. */
static void call_drain(struct request *r) {
  int fd = number(r, 2), plain = has(r, 6, "plain");
  uint64_t total = strtoull(r->word[3], NULL, 0), done = 0;
  size_t chunk = number(r, 4);
  uint8_t *buffer = malloc(chunk);
  int64_t start = nanoseconds();
  while (done < total) {
    ssize_t got = read(fd, buffer, total - done < chunk ? total - done : chunk);
    if (got <= 0) {
      answer(r, "%llu %s", (unsigned long long)done, got < 0 ? strerrorname_np(errno) : "end");
      free(buffer);
      return;
    }
    ssize_t bad = plain ? -1 : differs(buffer, got, done, number(r, 5));
    if (bad >= 0) {
      answer(r, "%llu WRONG", (unsigned long long)(done + bad));
      free(buffer);
      return;
    }
    done += got;
  }
  int64_t took = nanoseconds() - start;
  if (has(r, 6, "ack") && write(fd, "k", 1) != 1) answer_error(r);
  else answer(r, "%llu %lld", (unsigned long long)done, (long long)took);
  free(buffer);
}

/* echo FD COUNT: reads one byte and writes it back, so often. */
static void call_echo(struct request *r) {
  int fd = number(r, 2);
  char byte;
  for (long i = 0; i < number(r, 3); i++)
    if (read(fd, &byte, 1) != 1 || write(fd, &byte, 1) != 1) {
      answer(r, "%ld %s", i, strerrorname_np(errno));
      return;
    }
  answer(r, "%ld", number(r, 3));
}

/* ping FD COUNT: writes one byte and reads one, so often: "COUNT NANOSECONDS". */
static void call_ping(struct request *r) {
  int fd = number(r, 2);
  char byte = 'p';
  int64_t start = nanoseconds();
  for (long i = 0; i < number(r, 3); i++)
    if (write(fd, &byte, 1) != 1 || read(fd, &byte, 1) != 1) {
      answer(r, "%ld %s", i, strerrorname_np(errno));
      return;
    }
  answer(r, "%ld %lld", number(r, 3), (long long)(nanoseconds() - start));
}

/* poll MILLISECONDS FD…: what each is ready for. */
static void call_poll(struct request *r) {
  struct pollfd fds[WORDS];
  int count = r->count - 3;
  for (int i = 0; i < count; i++) fds[i] = (struct pollfd){number(r, i + 3), POLLIN | POLLOUT | POLLPRI, 0};
  if (poll(fds, count, number(r, 2)) < 0) {
    answer_error(r);
    return;
  }
  char text[LINE] = "";
  for (int i = 0; i < count; i++) {
    char one[64];
    name_events(one, fds[i].revents);
    strcat(strcat(text, i ? " " : ""), one);
  }
  answer(r, "%s", text);
}

/* pollin MILLISECONDS FD / pollout: waits for one event only. */
static void call_poll_one(struct request *r, short event) {
  struct pollfd one = {number(r, 3), event, 0};
  char text[64];
  if (poll(&one, 1, number(r, 2)) < 0) answer_error(r);
  else {
    name_events(text, one.revents);
    answer(r, "%s", text);
  }
}

/* select FD: "r", "w", "rw" or "none" at once. */
static void call_select(struct request *r) {
  int fd = number(r, 2);
  fd_set in, out;
  struct timeval none = {0, 0};
  FD_ZERO(&in);
  FD_ZERO(&out);
  FD_SET(fd, &in);
  FD_SET(fd, &out);
  if (select(fd + 1, &in, &out, NULL, &none) < 0) answer_error(r);
  else answer(r, "%s", FD_ISSET(fd, &in) ? (FD_ISSET(fd, &out) ? "rw" : "r") : FD_ISSET(fd, &out) ? "w" : "none");
}

/* epoll MILLISECONDS FD: edge-triggered, two waits: what the first and the second one say. */
static void call_epoll(struct request *r) {
  int set = epoll_create1(0);
  struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLET}, got;
  if (epoll_ctl(set, EPOLL_CTL_ADD, number(r, 3), &event) < 0) answer_error(r);
  else {
    char text[2][64];
    for (int i = 0; i < 2; i++) name_events(text[i], epoll_wait(set, &got, 1, number(r, 2)) > 0 ? got.events : 0);
    answer(r, "%s %s", text[0], text[1]);
  }
  close(set);
}

static void on_sigio(int signal, siginfo_t *info, void *context) {
  (void)signal, (void)context;
  sigio_count++;
  last_band = info->si_band;
}

/* async FD on|off: SIGIO for the descriptor. */
static void call_async(struct request *r) {
  int fd = number(r, 2), flags = fcntl(fd, F_GETFL);
  struct sigaction action = {.sa_sigaction = on_sigio, .sa_flags = SA_SIGINFO | SA_RESTART};
  sigaction(SIGIO, &action, NULL);
  flags = has(r, 3, "on") ? flags | O_ASYNC : flags & ~O_ASYNC;
  if (fcntl(fd, F_SETOWN, getpid()) < 0 || fcntl(fd, F_SETSIG, SIGIO) < 0 || fcntl(fd, F_SETFL, flags) < 0)
    answer_error(r);
  else answer(r, "ok");
}

/* sigio MILLISECONDS: waits until no SIGIO has come for so long; "some" or "none", and forgets them. */
static void call_sigio(struct request *r) {
  long before = -1;
  while (before != sigio_count) {
    before = sigio_count;
    struct timespec rest = {number(r, 2) / 1000, number(r, 2) % 1000 * 1000000};
    while (nanosleep(&rest, &rest) < 0) {}
  }
  char text[64];
  name_events(text, last_band);
  const int some = sigio_count != 0;
  /* Forgotten before the answer: the next may come as soon as the host has read it. */
  sigio_count = 0;
  last_band = 0;
  answer(r, some ? "some %s" : "none", text);
}

/* nonblock FD on|off */
static void call_nonblock(struct request *r) {
  int fd = number(r, 2), flags = fcntl(fd, F_GETFL);
  flags = has(r, 3, "on") ? flags | O_NONBLOCK : flags & ~O_NONBLOCK;
  if (fcntl(fd, F_SETFL, flags) < 0) answer_error(r);
  else answer(r, "ok");
}

/* splice FD BYTES SEED: the pattern through a pipe into the port. */
static void call_splice(struct request *r) {
  size_t total = number(r, 3), done = 0;
  uint8_t *buffer = malloc(total);
  pattern(buffer, total, 0, number(r, 4));
  int pipes[2];
  if (pipe(pipes) < 0) answer_error(r);
  else {
    ssize_t moved = 0;
    while (done < total && moved >= 0) {
      ssize_t put = write(pipes[1], buffer + done, total - done < 65536 ? total - done : 65536);
      for (ssize_t left = put; left > 0 && moved >= 0; left -= moved)
        if ((moved = splice(pipes[0], NULL, number(r, 2), NULL, left, SPLICE_F_MOVE)) > 0) done += moved;
    }
    if (moved < 0) answer(r, "%zu %s", done, strerrorname_np(errno));
    else answer(r, "%zu", done);
    close(pipes[0]), close(pipes[1]);
  }
  free(buffer);
}

/* unsplice FD BYTES: from the port into a pipe. */
static void call_unsplice(struct request *r) {
  int pipes[2];
  if (pipe(pipes) < 0) {
    answer_error(r);
    return;
  }
  ssize_t moved = splice(number(r, 2), NULL, pipes[1], NULL, number(r, 3), 0);
  if (moved < 0) answer_error(r);
  else answer(r, "%zd", moved);
  close(pipes[0]), close(pipes[1]);
}

/* sendfile FD PATH BYTES */
static void call_sendfile(struct request *r) {
  int from = open(r->word[3], O_RDONLY);
  ssize_t total = number(r, 4), done = 0, moved = 1;
  while (from >= 0 && done < total && moved > 0)
    if ((moved = sendfile(number(r, 2), from, NULL, total - done)) > 0) done += moved;
  if (from < 0 || moved < 0) answer_error(r);
  else answer(r, "%zd", done);
  if (from >= 0) close(from);
}

/* writev FD / readv FD: 3 and 5 bytes in two pieces. */
static void call_vector(struct request *r, int writes) {
  char first[4] = "abc", second[6] = "defgh";
  struct iovec pieces[2] = {{first, 3}, {second, 5}};
  if (!writes) memset(first, 0, 4), memset(second, 0, 6);
  ssize_t count = writes ? writev(number(r, 2), pieces, 2) : readv(number(r, 2), pieces, 2);
  if (count < 0) answer_error(r);
  else answer(r, "%zd %s%s", count, first, second);
}

static void call_other(struct request *r) {
  const char *what = r->word[1];
  int fd = number(r, 2);
  long result;
  /* No memory there; volatile, or gcc would warn of what is meant. */
  void *volatile nowhere = (void *)8;
  if (strcmp(what, "close") == 0) result = close(fd);
  else if (strcmp(what, "lseek") == 0) result = lseek(fd, 0, SEEK_SET);
  else if (strcmp(what, "fsync") == 0) result = fsync(fd);
  else if (strcmp(what, "ioctl") == 0) result = ioctl(fd, TCGETS, &(struct termios){0});
  else if (strcmp(what, "pread") == 0) result = pread(fd, &(char){0}, 1, 0);
  else if (strcmp(what, "dup") == 0) result = dup(fd);
  else if (strcmp(what, "write0") == 0) result = write(fd, "", 0);
  else if (strcmp(what, "read0") == 0) result = read(fd, &(char){0}, 0);
  else if (strcmp(what, "badwrite") == 0) result = write(fd, nowhere, 100);
  else if (strcmp(what, "mmap") == 0) result = mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0) == MAP_FAILED ? -1 : 0;
  else if (strcmp(what, "interrupt") == 0) result = -pthread_kill(threads[fd % THREADS], SIGUSR1);
  else {
    answer(r, "unknown");
    return;
  }
  if (result < 0) answer_error(r);
  else answer(r, strcmp(what, "dup") == 0 ? "%ld" : result ? "%ld" : "ok", result);
}

static void *serve(void *given) {
  struct request *r = given;
  const char *what = r->word[1];
  if (strcmp(what, "open") == 0) call_open(r);
  else if (strcmp(what, "read") == 0) call_read(r);
  else if (strcmp(what, "write") == 0) call_write(r);
  else if (strcmp(what, "fill") == 0) call_fill(r);
  else if (strcmp(what, "drain") == 0) call_drain(r);
  else if (strcmp(what, "echo") == 0) call_echo(r);
  else if (strcmp(what, "ping") == 0) call_ping(r);
  else if (strcmp(what, "poll") == 0) call_poll(r);
  else if (strcmp(what, "pollin") == 0) call_poll_one(r, POLLIN);
  else if (strcmp(what, "pollout") == 0) call_poll_one(r, POLLOUT);
  else if (strcmp(what, "select") == 0) call_select(r);
  else if (strcmp(what, "epoll") == 0) call_epoll(r);
  else if (strcmp(what, "async") == 0) call_async(r);
  else if (strcmp(what, "sigio") == 0) call_sigio(r);
  else if (strcmp(what, "nonblock") == 0) call_nonblock(r);
  else if (strcmp(what, "splice") == 0) call_splice(r);
  else if (strcmp(what, "unsplice") == 0) call_unsplice(r);
  else if (strcmp(what, "sendfile") == 0) call_sendfile(r);
  else if (strcmp(what, "writev") == 0) call_vector(r, 1);
  else if (strcmp(what, "readv") == 0) call_vector(r, 0);
  else call_other(r);
  free(r);
  return NULL;
}

static void nothing(int signal) { (void)signal; }

int main(void) {
  struct sigaction interrupt = {.sa_handler = nothing};
  sigaction(SIGUSR1, &interrupt, NULL);
  struct termios saved, raw;
  int terminal = tcgetattr(0, &saved) == 0;
  if (terminal) {
    raw = saved;
    cfmakeraw(&raw);
    tcsetattr(0, TCSANOW, &raw);
  }
  puts("#0 ready");
  fflush(stdout);
  for (;;) {
    struct request *r = calloc(1, sizeof *r);
    if (fgets(r->line, LINE, stdin) == NULL) break;
    char *rest;
    for (char *word = strtok_r(r->line, " \n", &rest); word != NULL && r->count < WORDS; word = strtok_r(NULL, " \n", &rest))
      r->word[r->count++] = word;
    if (r->count < 2) {
      free(r);
      continue;
    }
    if (strcmp(r->word[1], "exit") == 0) break;
    /* the thread may have given the request back before it is detached */
    pthread_t *thread = &threads[atoi(r->word[0]) % THREADS];
    if (pthread_create(thread, NULL, serve, r) != 0) answer(r, "no thread");
    else pthread_detach(*thread);
  }
  if (terminal) tcsetattr(0, TCSANOW, &saved);
  return 0;
}
