/*
 * What costs the kernel's work: system calls, new processes, page faults, and changes from one process or thread to
 * another. Each needs the processor's paths between privileges and address spaces.
 */
#define _GNU_SOURCE
#include "bench.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static void check(int ok, const char *what) {
  if (ok) return;
  perror(what);
  exit(1);
}

uint64_t bench_syscalls(void) {
  uint64_t sum = 0;
  const pid_t own = getpid();
  for (int i = 0; i < 300000; i++) sum += syscall(SYS_getppid) != own;
  return sum;
}

uint64_t bench_forks(void) {
  uint64_t sum = MIX_START;
  for (int i = 0; i < 300; i++) {
    pid_t child = fork();
    check(child >= 0, "fork");
    if (child == 0) _exit(i & 127);
    int status;
    check(waitpid(child, &status, 0) == child, "waitpid");
    sum = mix(sum, WEXITSTATUS(status));
  }
  return sum;
}

uint64_t bench_faults(void) {
  uint64_t sum = 0;
  const size_t size = 16 * 1024 * 1024;
  for (int round = 0; round < 12; round++) {
    uint8_t *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    check(memory != MAP_FAILED, "mmap");
    for (size_t at = 0; at < size; at += 4096) {
      sum += memory[at];
      memory[at] = at >> 12;
    }
    for (size_t at = 0; at < size; at += 4096) sum += memory[at];
    munmap(memory, size);
  }
  return sum;
}

/* Two processes that hand a number to and fro through two pipes. */
uint64_t bench_pipes(void) {
  int there[2], back[2];
  check(pipe(there) == 0 && pipe(back) == 0, "pipe");
  pid_t child = fork();
  check(child >= 0, "fork");
  uint32_t value = 0;
  if (child == 0) {
    close(there[1]);
    while (read(there[0], &value, sizeof value) == sizeof value) {
      value = value * 3 + 1;
      if (write(back[1], &value, sizeof value) != sizeof value) break;
    }
    _exit(0);
  }
  close(there[0]);
  for (int i = 0; i < 5000; i++) {
    check(write(there[1], &value, sizeof value) == sizeof value, "write");
    check(read(back[0], &value, sizeof value) == sizeof value, "read");
  }
  close(there[1]);
  waitpid(child, NULL, 0);
  return value;
}

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static int turn;
static uint32_t shared;

static void *take_turns(void *argument) {
  int mine = *(int *)argument;
  for (int i = 0; i < 5000; i++) {
    pthread_mutex_lock(&mutex);
    while (turn != mine) pthread_cond_wait(&changed, &mutex);
    shared = shared * 5 + mine + 1;
    turn = !mine;
    pthread_cond_signal(&changed);
    pthread_mutex_unlock(&mutex);
  }
  return NULL;
}

/* Two threads that wait for each other: futexes and changes of thread in one address space. */
uint64_t bench_threads(void) {
  pthread_t threads[2];
  int numbers[2] = {0, 1};
  for (int i = 0; i < 2; i++) check(pthread_create(&threads[i], NULL, take_turns, &numbers[i]) == 0, "pthread_create");
  for (int i = 0; i < 2; i++) pthread_join(threads[i], NULL);
  return shared;
}
