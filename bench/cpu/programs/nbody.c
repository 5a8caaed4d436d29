/* Five bodies under gravity: SSE2 arithmetic in double precision with divisions and square roots, all in the first cache. */
#include "bench.h"

#include <math.h>
#include <string.h>

#define BODIES 5

struct body {
  double x, y, z, vx, vy, vz, mass;
};

static void step(struct body *bodies, double dt) {
  for (int i = 0; i < BODIES; i++)
    for (int k = i + 1; k < BODIES; k++) {
      struct body *a = &bodies[i], *b = &bodies[k];
      double dx = a->x - b->x, dy = a->y - b->y, dz = a->z - b->z;
      double square = dx * dx + dy * dy + dz * dz;
      double pull = dt / (square * sqrt(square));
      a->vx -= dx * b->mass * pull, a->vy -= dy * b->mass * pull, a->vz -= dz * b->mass * pull;
      b->vx += dx * a->mass * pull, b->vy += dy * a->mass * pull, b->vz += dz * a->mass * pull;
    }
  for (int i = 0; i < BODIES; i++) {
    bodies[i].x += dt * bodies[i].vx;
    bodies[i].y += dt * bodies[i].vy;
    bodies[i].z += dt * bodies[i].vz;
  }
}

uint64_t bench_nbody(void) {
  struct body bodies[BODIES];
  for (int i = 0; i < BODIES; i++)
    bodies[i] = (struct body){3.0 * i, 2.0 - i, 0.5 * i * i, 0.1 * i, 0.3 - 0.1 * i, 0.02 * i, i == 0 ? 30.0 : 0.01 * i};
  for (int i = 0; i < 250000; i++) step(bodies, 0.001);
  uint64_t sum = MIX_START;
  for (int i = 0; i < BODIES; i++) {
    uint64_t bits[7];
    memcpy(bits, &bodies[i], sizeof bits);
    for (int k = 0; k < 7; k++) sum = mix(sum, bits[k]);
  }
  return sum;
}
