/*
 * Programs that change code while it runs, or look at it while it runs, in every way that a process has: each prints
 * what it saw, which is the same on every correct x86-64. Runs on the host and in a guest, and the texts are compared.
 * Usage: code FILE, where block n (of 4096 bytes) of FILE is a function that gives n.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

typedef uint32_t u32;
typedef uint64_t u64;
typedef u32 (*function)(void);

static void need(int ok, const char *what) {
  if (ok) return;
  printf("%s: %s\n", what, strerror(errno));
  exit(1);
}

static u64 mix(u64 hash, u64 value) { return (hash ^ value) * 0x100000001b3u; }

/* mov eax, value; ret */
static void put(unsigned char *at, u32 value) {
  at[0] = 0xb8;
  memcpy(at + 1, &value, 4);
  at[5] = 0xc3;
}

static unsigned char *pages(int count, int prot) {
  unsigned char *p = mmap(NULL, 4096 * count, prot, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  need(p != MAP_FAILED, "mmap");
  return p;
}

#define RWX (PROT_READ | PROT_WRITE | PROT_EXEC)

static void self_modifying(void) {
  unsigned char *p = pages(2, RWX);
  u64 hash = 1;
  for (u32 i = 0; i < 20000; i++) {
    /* at many places, also across the page boundary */
    unsigned char *at = p + (i % 64 == 0 ? 4096 - 3 : (i * 37) % 4000);
    put(at, i * 2654435761u);
    hash = mix(hash, ((function)at)());
    at[3] ^= i;
    hash = mix(hash, ((function)at)());
  }
  printf("self-modifying: %016lx\n", hash);

  /* a loop that changes the operand of its own next instruction, and its own condition at the end */
  static const unsigned char loop[] = {
      0x31, 0xc0,                               /* xor eax, eax */
      0xb9, 0x10, 0x27, 0, 0,                   /* mov ecx, 10000 */
      0x89, 0x0d, 1, 0, 0, 0,                   /* top: mov [rip + 1], ecx */
      0x05, 0, 0, 0, 0,                         /* add eax, 0 (changed) */
      0xff, 0xc9,                               /* dec ecx */
      0x75, 0xf1,                               /* jnz top */
      0xc3};
  memcpy(p, loop, sizeof loop);
  printf("changes its next instruction: %u\n", ((function)p)());
  memcpy(p, loop, sizeof loop);
  printf("and again: %u\n", ((function)p)());
  munmap(p, 8192);
}

static void two_mappings(void) {
  int fd = memfd_create("code", 0);
  need(fd >= 0 && ftruncate(fd, 4 * 4096) == 0, "memfd_create");
  unsigned char *w = mmap(NULL, 4 * 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  unsigned char *x = mmap(NULL, 4 * 4096, PROT_READ | PROT_EXEC, MAP_SHARED, fd, 0);
  need(w != MAP_FAILED && x != MAP_FAILED, "mmap");
  u64 hash = 1;
  for (u32 i = 0; i < 20000; i++) {
    u32 at = i % 3 == 0 ? 4096 - 3 : (i % 4) * 4096 + (i * 8) % 4000;
    put(w + at, i);
    hash = mix(hash, ((function)(x + at))());
    hash = mix(hash, ((function)(x + at))());
  }
  printf("written through another mapping: %016lx\n", hash);

  /* the same address shows one page of the file after another */
  for (u32 i = 0; i < 4; i++) put(w + 4096 * i, 1000 + i);
  hash = 1;
  for (u32 i = 0; i < 3000; i++) {
    u32 page = (i * 7 + i / 5) % 4;
    need(mmap(x, 4096, PROT_READ | PROT_EXEC, MAP_SHARED | MAP_FIXED, fd, 4096 * page) == x, "mmap");
    for (int k = 0; k < 3; k++) hash = mix(hash, ((function)x)());
  }
  printf("remapped: %016lx\n", hash);

  /* never writable and executable at once */
  unsigned char *p = pages(1, PROT_READ | PROT_WRITE);
  hash = 1;
  for (u32 i = 0; i < 3000; i++) {
    need(mprotect(p, 4096, PROT_READ | PROT_WRITE) == 0, "mprotect");
    put(p + i, i * 3);
    need(mprotect(p, 4096, PROT_READ | PROT_EXEC) == 0, "mprotect");
    hash = mix(hash, ((function)(p + i))());
  }
  printf("protected by turns: %016lx\n", hash);

  /* another process writes it */
  int to[2], from[2];
  need(pipe(to) == 0 && pipe(from) == 0, "pipe");
  need(mmap(x, 4096, PROT_READ | PROT_EXEC, MAP_SHARED | MAP_FIXED, fd, 0) == x, "mmap");
  pid_t child = fork();
  char byte;
  if (child == 0) {
    close(to[1]);
    for (u32 i = 0; read(to[0], &byte, 1) == 1; i++) {
      put(w, i * i);
      need(write(from[1], "x", 1) == 1, "write");
    }
    _exit(0);
  }
  close(to[0]);
  hash = 1;
  for (u32 i = 0; i < 500; i++) {
    need(write(to[1], "x", 1) == 1 && read(from[0], &byte, 1) == 1, "pipe");
    hash = mix(hash, ((function)x)());
  }
  close(to[1]);
  waitpid(child, NULL, 0);
  printf("written by another process: %016lx\n", hash);

  /* copied on write: parent and child change the same private page */
  unsigned char *q = pages(1, RWX);
  put(q, 7);
  u32 before = ((function)q)();
  child = fork();
  if (child == 0) {
    put(q, 8);
    _exit(((function)q)());
  }
  int status;
  waitpid(child, &status, 0);
  u32 after = ((function)q)();
  put(q, 9);
  printf("copied on write: %u %d %u %u\n", before, WEXITSTATUS(status), after, ((function)q)());
}

static void by_device(const char *path) {
  int fd = open(path, O_RDONLY | O_DIRECT);
  need(fd >= 0, path);
  unsigned char *p = pages(1, RWX);
  u64 hash = 1;
  for (u32 i = 0; i < 1500; i++) {
    u32 block = (i * 5 + i / 7) % 64;
    need(pread(fd, p, 4096, 4096 * block) == 4096, "pread");
    for (int k = 0; k < 3; k++) hash = mix(hash, ((function)p)());
  }
  close(fd);
  printf("read from a disk: %016lx\n", hash);
}

/* --- signals ----------------------------------------------------------------------------------------------------- */

static volatile sig_atomic_t signals;
static sigjmp_buf jump;
static u64 seen = 1;

static void fix(int number, siginfo_t *info, void *context) {
  ucontext_t *u = context;
  greg_t *r = u->uc_mcontext.gregs;
  signals++;
  seen = mix(mix(seen, number), (u64)info->si_code);
  switch (number) {
    case SIGSEGV:
      /* mov rax, [rbx]: as if it had read 42, carry set, and XMM3 changed */
      seen = mix(seen, (u64)info->si_addr);
      r[REG_RAX] = 42;
      r[REG_EFL] |= 1;
      u->uc_mcontext.fpregs->_xmm[3].element[0] = 77;
      r[REG_RIP] += 3;
      break;
    case SIGILL:
      r[REG_RIP] += 2;
      break;
    case SIGFPE:
      /* div ecx: again, with another divisor */
      r[REG_RCX] = 5;
      break;
    case SIGTRAP:
      seen = mix(seen, r[REG_RCX]);
      break;
  }
}

static void on(int number, void (*handler)(int, siginfo_t *, void *), int flags) {
  struct sigaction action = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO | flags};
  need(sigaction(number, &action, NULL) == 0, "sigaction");
}

static void tick(int number, siginfo_t *info, void *context) {
  (void)number, (void)info, (void)context;
  signals++;
}

static void leave(int number, siginfo_t *info, void *context) {
  (void)number, (void)info, (void)context;
  siglongjmp(jump, 1);
}

static u64 compute(u64 rounds) {
  u64 x = 88172645463325252u, hash = 1;
  double d = 1;
  for (u64 i = 0; i < rounds; i++) {
    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    d = d * 1.0000001 + (double)(x >> 40) * 1e-9;
    hash = mix(hash, x) + (hash >> 60);
  }
  u64 bits;
  memcpy(&bits, &d, 8);
  return hash ^ bits;
}

static void signal_contexts(void) {
  on(SIGSEGV, fix, 0);
  on(SIGILL, fix, 0);
  on(SIGFPE, fix, 0);
  u64 sum = 0;
  for (u32 i = 0; i < 500; i++) {
    u64 rax, carry;
    u32 lane;
    asm volatile("clc; mov (%3), %0; sbb %1, %1; movd %%xmm3, %2"
                 : "=&a"(rax), "=&r"(carry), "=&r"(lane)
                 : "b"((u64)8 * i)
                 : "xmm3", "cc", "memory");
    sum += rax + carry + lane;
  }
  printf("fault: %d signals, %lu\n", signals, sum);
  signals = 0;
  for (u32 i = 0; i < 300; i++) asm volatile("ud2");
  printf("invalid: %d signals\n", signals);
  signals = 0;
  sum = 0;
  for (u32 i = 1; i <= 300; i++) {
    u32 quotient = 100 * i, rest = 0, divisor = 0;
    asm volatile("div %2" : "+a"(quotient), "+d"(rest), "+c"(divisor));
    sum += quotient;
  }
  printf("divide: %d signals, %lu\n", signals, sum);

  /* TF: a trap behind each instruction */
  on(SIGTRAP, fix, 0);
  signals = 0;
  u64 count = 100;
  asm volatile(
      "pushf; orl $0x100, (%%rsp); popf\n"
      "1: lea -1(%0), %0; test %0, %0; jnz 1b\n"
      "pushf; andl $~0x100, (%%rsp); popf; nop"
      : "+c"(count)
      :
      : "cc", "memory");
  printf("single steps: %d, %016lx\n", signals, seen);

  /* out of a handler by siglongjmp, on another stack */
  static char stack[65536];
  stack_t alternate = {.ss_sp = stack, .ss_size = sizeof stack};
  need(sigaltstack(&alternate, NULL) == 0, "sigaltstack");
  on(SIGSEGV, leave, SA_ONSTACK | SA_NODEFER);
  volatile int left = 0;
  for (volatile int i = 0; i < 200; i++) {
    if (sigsetjmp(jump, 1) == 0) {
      *(volatile int *)8 = 1;
      left -= 1000;
    }
    left++;
  }
  printf("jumped out: %d\n", left);

  /* a timer breaks in everywhere and must change nothing */
  on(SIGALRM, tick, SA_RESTART);
  u64 quiet = compute(2000000);
  struct itimerval timer = {{0, 700}, {0, 700}};
  signals = 0;
  setitimer(ITIMER_REAL, &timer, NULL);
  u64 disturbed;
  do disturbed = compute(2000000);
  while (signals < 10 && disturbed == quiet);
  memset(&timer, 0, sizeof timer);
  setitimer(ITIMER_REAL, &timer, NULL);
  printf("disturbed: %s\n", disturbed == quiet && signals >= 10 ? "the same" : "another result");
}

/* --- ptrace ------------------------------------------------------------------------------------------------------ */

static volatile u64 watched[4];
static volatile u32 shown;

__attribute__((noinline)) static u64 victim(u64 n) {
  u64 sum = 0;
  for (u64 i = 0; i < n; i++) {
    sum += i * i;
    watched[i & 3] = sum;
    if (i % 5 == 0) shown += (u32)watched[1];
    asm volatile("" ::: "memory");
  }
  return sum;
}

/* a known number of instructions: 2 + 4 n */
__attribute__((naked, noinline)) static u64 counted(u64 n __attribute__((unused))) {
  asm("xor %eax, %eax\n"
      "1: add %rdi, %rax\n"
      "push %rdi; pop %rdi\n"
      "dec %rdi\n"
      "jnz 1b\n"
      "ret");
}

static pid_t traced(u64 (*run)(u64), u64 n) {
  pid_t child = fork();
  if (child == 0) {
    ptrace(PTRACE_TRACEME, 0, 0, 0);
    raise(SIGSTOP);
    _exit((int)(run(n) & 127));
  }
  int status;
  need(waitpid(child, &status, 0) == child && WIFSTOPPED(status), "waitpid");
  return child;
}

static int go(pid_t child, int request) {
  int status;
  need(ptrace(request, child, 0, 0) == 0, "ptrace");
  need(waitpid(child, &status, 0) == child, "waitpid");
  return status;
}

static void set_debug(pid_t child, int which, u64 value) {
  need(ptrace(PTRACE_POKEUSER, child, offsetof(struct user, u_debugreg) + 8 * which, value) == 0, "debug register");
}

static void trace(void) {
  struct user_regs_struct r;
  /* a breakpoint by INT3 at `counted`, then single steps through all of it */
  pid_t child = traced(counted, 50);
  u64 start = (u64)counted;
  errno = 0;
  u64 text = ptrace(PTRACE_PEEKTEXT, child, start, 0);
  need(errno == 0, "peek");
  need(ptrace(PTRACE_POKETEXT, child, start, (text & ~0xffull) | 0xcc) == 0, "poke");
  int status = go(child, PTRACE_CONT);
  ptrace(PTRACE_GETREGS, child, 0, &r);
  printf("breakpoint: %d at %ld\n", WSTOPSIG(status), (long)(r.rip - start));
  ptrace(PTRACE_POKETEXT, child, start, text);
  r.rip = start;
  r.rdi = 60;
  ptrace(PTRACE_SETREGS, child, 0, &r);
  u64 hash = 1;
  int steps = 0;
  for (; steps < 2000; steps++) {
    status = go(child, PTRACE_SINGLESTEP);
    ptrace(PTRACE_GETREGS, child, 0, &r);
    if (r.rip < start || r.rip > start + 32) break;
    hash = mix(mix(mix(hash, r.rip - start), r.rax), r.eflags & 0xcd5);
  }
  printf("stepped: %d instructions, %016lx, rax %llu\n", steps, hash, r.rax);
  /* the result is what the changed register says */
  status = go(child, PTRACE_CONT);
  printf("then: exit %d\n", WEXITSTATUS(status));

  /* an execution breakpoint */
  child = traced(victim, 30);
  set_debug(child, 0, (u64)victim);
  set_debug(child, 7, 1);
  status = go(child, PTRACE_CONT);
  ptrace(PTRACE_GETREGS, child, 0, &r);
  u64 dr6 = ptrace(PTRACE_PEEKUSER, child, offsetof(struct user, u_debugreg) + 48, 0);
  printf("execution: signal %d at %ld, DR6 %lx\n", WSTOPSIG(status), (long)(r.rip - (u64)victim), dr6 & 15);
  status = go(child, PTRACE_CONT);
  printf("then: exit %d\n", WIFEXITED(status) ? WEXITSTATUS(status) : -1);

  /* watchpoints: one write, two reads and writes, of several lengths */
  static const struct {
    int which;
    u64 at, control;
    const char *name;
  } watches[] = {
      {1, (u64)&watched[2], 1 << 2 | 1 << 20 | 2 << 22, "write of 8"},
      {2, (u64)&watched[1], 1 << 4 | 3 << 24 | 2 << 26, "access of 8"},
      {3, (u64)&watched[3] + 4, 1 << 6 | 1 << 28 | 3u << 30, "write of 4 in the upper half"},
      {0, (u64)&watched[0] + 1, 1 | 1 << 16, "write of 1 inside"},
      {1, (u64)&shown, 1 << 2 | 3 << 20 | 3 << 22, "access of 4"},
  };
  for (unsigned i = 0; i < sizeof watches / sizeof *watches; i++) {
    child = traced(victim, 40);
    set_debug(child, watches[i].which, watches[i].at);
    set_debug(child, 7, (u32)watches[i].control);
    int hits = 0;
    hash = 1;
    for (;;) {
      status = go(child, PTRACE_CONT);
      if (!WIFSTOPPED(status)) break;
      dr6 = ptrace(PTRACE_PEEKUSER, child, offsetof(struct user, u_debugreg) + 48, 0);
      ptrace(PTRACE_GETREGS, child, 0, &r);
      hash = mix(mix(hash, dr6 & 15), r.rip - (u64)victim);
      set_debug(child, 6, 0);
      hits++;
    }
    printf("%s: %d hits, %016lx, exit %d\n", watches[i].name, hits, hash, WEXITSTATUS(status));
  }

  /* code of another process, changed while that one runs it */
  int pair[2];
  need(pipe(pair) == 0, "pipe");
  unsigned char *p = pages(1, RWX);
  put(p, 1);
  child = fork();
  if (child == 0) {
    ptrace(PTRACE_TRACEME, 0, 0, 0);
    u64 sum = 1;
    for (int i = 0; i < 100; i++) {
      for (int k = 0; k < 50; k++) sum = mix(sum, ((function)p)());
      raise(SIGSTOP);
    }
    need(write(pair[1], &sum, 8) == 8, "write");
    _exit(0);
  }
  for (u32 i = 2;; i++) {
    waitpid(child, &status, 0);
    if (!WIFSTOPPED(status)) break;
    struct iovec local = {&i, 4}, remote = {p + 1, 4};
    if (i % 2)
      need(process_vm_writev(child, &local, 1, &remote, 1, 0) == 4, "process_vm_writev");
    else
      ptrace(PTRACE_POKETEXT, child, p + 1, (u64)i | 0x909090c3ull << 32);
    ptrace(PTRACE_CONT, child, 0, 0);
  }
  need(read(pair[0], &hash, 8) == 8, "read");
  printf("changed from outside: %016lx\n", hash);
}

int main(int argc, char **argv) {
  setvbuf(stdout, NULL, _IOLBF, 0);
  self_modifying();
  two_mappings();
  if (argc > 1) by_device(argv[1]);
  signal_contexts();
  trace();
  puts("end of code.c");
  return 0;
}
