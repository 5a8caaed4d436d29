/* An interpreter of a small register machine, by a switch in a loop: an indirect jump for each of its instructions. */
#include "bench.h"

enum { SET, ADD, SUB, XOR, SHIFT, LOAD, STORE, JUMP_NOT_ZERO, HALT };

struct instruction {
  uint8_t op, to, left, right;
  int32_t value;
};

/* Fills a table, then walks through it; r5 counts the rounds. */
static const struct instruction code[] = {
    {SET, 0, 0, 0, 12345},       {SET, 5, 0, 0, 1500},          {SET, 6, 0, 0, 1},           {SET, 1, 0, 0, 1024},
    /* 4: */ {SHIFT, 2, 0, 0, 7}, {XOR, 0, 0, 2, 0},             {ADD, 0, 0, 1, 0},           {SUB, 1, 1, 6, 0},
    {STORE, 0, 1, 0, 0},         {JUMP_NOT_ZERO, 0, 1, 0, 4},   {SET, 1, 0, 0, 1024},
    /* 11: */ {SUB, 1, 1, 6, 0},  {LOAD, 2, 1, 0, 0},            {ADD, 3, 3, 2, 0},           {XOR, 4, 4, 3, 0},
    {JUMP_NOT_ZERO, 0, 1, 0, 11}, {ADD, 0, 0, 4, 0},            {SUB, 5, 5, 6, 0},           {SET, 1, 0, 0, 1024},
    {JUMP_NOT_ZERO, 0, 5, 0, 4}, {HALT, 0, 0, 0, 0}};

uint64_t bench_bytecode(void) {
  static uint32_t memory[1024];
  uint32_t r[8] = {0};
  for (const struct instruction *at = code;;) {
    const struct instruction i = *at++;
    switch (i.op) {
      case SET: r[i.to] = i.value; break;
      case ADD: r[i.to] = r[i.left] + r[i.right]; break;
      case SUB: r[i.to] = r[i.left] - r[i.right]; break;
      case XOR: r[i.to] = r[i.left] ^ r[i.right]; break;
      case SHIFT: r[i.to] = r[i.left] << i.value | r[i.left] >> (32 - i.value); break;
      case LOAD: r[i.to] = memory[r[i.left] & 1023]; break;
      case STORE: memory[r[i.left] & 1023] = r[i.to]; break;
      case JUMP_NOT_ZERO:
        if (r[i.left] != 0) at = code + i.value;
        break;
      case HALT: return mix(mix(MIX_START, r[0]), mix(r[3], r[4]));
    }
  }
}
