/** SSE to SSE4.2, MMX, AES, PCLMUL and SHA. */
import type { InsnDef } from './types.ts';

export const sse: readonly InsnDef[] = [];
