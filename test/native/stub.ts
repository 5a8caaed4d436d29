/**
 * The machine code that NativeProcessor runs around foreign code: it loads a whole register state, jumps, and stores
 * the state again, whether the code comes back by a jump to EXIT or is stopped by a signal. Position-independent; its
 * context (IN, OUT, host values) lies one page after it.
 */

/** Offsets in the stub. */
export const ENTRY = 0;
export const EXIT = 0x100;
export const HANDLER = 0x200;
/** Like ENTRY, but jumps into a segment of legacy code, with data segments for it. */
export const ENTRY_LEGACY = 0x400;

/** Offsets in the mapping: the context page, and in it registers in, registers out, FXSAVE images, old handlers. */
export const CONTEXT = 0x1000;
export const IN = CONTEXT;
export const OUT = CONTEXT + 0x100;
export const IN_FX = CONTEXT + 0x200;
export const OUT_FX = CONTEXT + 0x400;
export const OLD_HANDLERS = CONTEXT + 0x7c0;
/** Offsets in IN and OUT: 16 general registers in encoding order, then these. */
export const STATE_RFLAGS = 0x80;
export const STATE_RIP = 0x88;
/** In IN, for ENTRY_LEGACY only: far pointer to jump to (u32 offset, u16 selector), then selectors of DS, ES, SS. */
export const STATE_FAR = 0x90;
export const STATE_DS = 0x98;
export const STATE_ES = 0x9c;
export const STATE_SS = 0xa0;
/** In OUT. */
export const STATE_SIGNAL = 0x90;
export const STATE_TRAP = 0x98;
export const STATE_ERROR = 0xa0;
export const STATE_CR2 = 0xa8;

const entry = [
  '53', // entry: push rbx
  '55', // push rbp
  '4154', // push r12
  '4155', // push r13
  '4156', // push r14
  '4157', // push r15
  '0fae1db7110000', // stmxcsr [HOST_MXCSR]
  'd93db5110000', // fnstcw [HOST_FCW]
  '488925a2110000', // mov [HOST_RSP],rsp
  '48c7056711000000000000', // mov [OUT+0x90],0x0
  '48c7059c11000001000000', // mov [RUNNING],0x1
  '480fae0dc4110000', // fxrstor64 [IN_FX]
  'ff353e100000', // push [IN+0x80]
  '488b05b70f0000', // mov rax,[IN+0x0]
  '488b0db80f0000', // mov rcx,[IN+0x8]
  '488b15b90f0000', // mov rdx,[IN+0x10]
  '488b1dba0f0000', // mov rbx,[IN+0x18]
  '488b2dc30f0000', // mov rbp,[IN+0x28]
  '488b35c40f0000', // mov rsi,[IN+0x30]
  '488b3dc50f0000', // mov rdi,[IN+0x38]
  '4c8b05c60f0000', // mov r8,[IN+0x40]
  '4c8b0dc70f0000', // mov r9,[IN+0x48]
  '4c8b15c80f0000', // mov r10,[IN+0x50]
  '4c8b1dc90f0000', // mov r11,[IN+0x58]
  '4c8b25ca0f0000', // mov r12,[IN+0x60]
  '4c8b2dcb0f0000', // mov r13,[IN+0x68]
  '4c8b35cc0f0000', // mov r14,[IN+0x70]
  '4c8b3dcd0f0000', // mov r15,[IN+0x78]
  '9d', // popf
  '488b256d0f0000', // mov rsp,[IN+0x20]
  'ff25cf0f0000', // jmp [IN+0x88]
];

const exit = [
  '488905f90f0000', // exit: mov [OUT+0x0],rax
  '48890dfa0f0000', // mov [OUT+0x8],rcx
  '488915fb0f0000', // mov [OUT+0x10],rdx
  '48891dfc0f0000', // mov [OUT+0x18],rbx
  '488925fd0f0000', // mov [OUT+0x20],rsp
  '48892dfe0f0000', // mov [OUT+0x28],rbp
  '488935ff0f0000', // mov [OUT+0x30],rsi
  '48893d00100000', // mov [OUT+0x38],rdi
  '4c890501100000', // mov [OUT+0x40],r8
  '4c890d02100000', // mov [OUT+0x48],r9
  '4c891503100000', // mov [OUT+0x50],r10
  '4c891d04100000', // mov [OUT+0x58],r11
  '4c892505100000', // mov [OUT+0x60],r12
  '4c892d06100000', // mov [OUT+0x68],r13
  '4c893507100000', // mov [OUT+0x70],r14
  '4c893d08100000', // mov [OUT+0x78],r15
  '488b2549100000', // mov rsp,[HOST_RSP]
  '9c', // pushf
  '8f0502100000', // pop [OUT+0x80]
  '480fae057a120000', // fxsave64 [OUT_FX]
  '488b2533100000', // back: mov rsp,[HOST_RSP]
  '6802020000', // push 0x202
  '9d', // popf
  'dbe3', // fninit
  'd92d31100000', // fldcw [HOST_FCW]
  '0fae1526100000', // ldmxcsr [HOST_MXCSR]
  '48c7052310000000000000', // mov [RUNNING],0x0
  '488b05dc0f0000', // mov rax,[OUT+0x90]
  '415f', // pop r15
  '415e', // pop r14
  '415d', // pop r13
  '415c', // pop r12
  '5d', // pop rbp
  '5b', // pop rbx
  'c3', // ret
];

// A signal handler: (signal, siginfo, ucontext). What interrupted our code is stored, and the host goes on as after EXIT.
const handler = [
  '48833dc80f000000', // handler: cmp [RUNNING],0x0
  '0f84d4000000', // je chain
  'fc', // cld
  '48893d7a0f0000', // mov [OUT+0x90],rdi
  '4889d3', // mov rbx,rdx
  '488bb3e0000000', // mov rsi,[rbx+0xe0]
  '488d3dd9110000', // lea rdi,[OUT_FX]
  'b940000000', // mov ecx,0x40
  'f348a5', // rep movs es:[rdi],ds:[rsi]
  '488d3dca0e0000', // lea rdi,[OUT+0x0]
  '488b8390000000', // mov rax,[rbx+0x90]
  '488907', // mov [rdi],rax
  '488b8398000000', // mov rax,[rbx+0x98]
  '48894708', // mov [rdi+0x8],rax
  '488b8388000000', // mov rax,[rbx+0x88]
  '48894710', // mov [rdi+0x10],rax
  '488b8380000000', // mov rax,[rbx+0x80]
  '48894718', // mov [rdi+0x18],rax
  '488b83a0000000', // mov rax,[rbx+0xa0]
  '48894720', // mov [rdi+0x20],rax
  '488b4378', // mov rax,[rbx+0x78]
  '48894728', // mov [rdi+0x28],rax
  '488b4370', // mov rax,[rbx+0x70]
  '48894730', // mov [rdi+0x30],rax
  '488b4368', // mov rax,[rbx+0x68]
  '48894738', // mov [rdi+0x38],rax
  '488d7328', // lea rsi,[rbx+0x28]
  '488d3db10e0000', // lea rdi,[OUT+0x40]
  'b908000000', // mov ecx,0x8
  'f348a5', // rep movs es:[rdi],ds:[rsi]
  '488b83b0000000', // mov rax,[rbx+0xb0]
  '488905db0e0000', // mov [OUT+0x80],rax
  '488b83a8000000', // mov rax,[rbx+0xa8]
  '488905d50e0000', // mov [OUT+0x88],rax
  '488b83c8000000', // mov rax,[rbx+0xc8]
  '488905d70e0000', // mov [OUT+0x98],rax
  '488b83c0000000', // mov rax,[rbx+0xc0]
  '488905d10e0000', // mov [OUT+0xa0],rax
  '488b83d8000000', // mov rax,[rbx+0xd8]
  '488905cb0e0000', // mov [OUT+0xa8],rax
  'e9a4feffff', // jmp back
  '488d05d7140000', // chain: lea rax,[OLD_HANDLERS]
  '488b04f8', // mov rax,[rax+rdi*8]
  '4883f801', // cmp rax,0x1
  '7602', // jbe die
  'ffe0', // jmp rax
  'bf46000000', // die: mov edi,0x46
  'b8e7000000', // mov eax,0xe7
  '0f05', // syscall
];

// The legacy code comes back by a far jump to EXIT; segments are put back behind the call.
const entryLegacy = [
  'e80e000000', // entry: call body
  'b92b000000', // mov ecx,0x2b
  '8ed1', // mov ss,ecx
  '31c9', // xor ecx,ecx
  '8ed9', // mov ds,ecx
  '8ec1', // mov es,ecx
  'c3', // ret
  '53', // body: push rbx
  '55', // push rbp
  '4154', // push r12
  '4155', // push r13
  '4156', // push r14
  '4157', // push r15
  '0fae1da40d0000', // stmxcsr [HOST_MXCSR]
  'd93da20d0000', // fnstcw [HOST_FCW]
  '4889258f0d0000', // mov [HOST_RSP],rsp
  '48c705540d000000000000', // mov [OUT+0x90],0x0
  '48c705890d000001000000', // mov [RUNNING],0x1
  '480fae0db10d0000', // fxrstor64 [IN_FX]
  'ff352b0c0000', // push [IN+0x80]
  '8b053d0c0000', // mov eax,[IN+0x98]
  '8ed8', // mov ds,eax
  '8b05390c0000', // mov eax,[IN+0x9c]
  '8ec0', // mov es,eax
  '488b05940b0000', // mov rax,[IN+0x0]
  '488b0d950b0000', // mov rcx,[IN+0x8]
  '488b15960b0000', // mov rdx,[IN+0x10]
  '488b1d970b0000', // mov rbx,[IN+0x18]
  '488b2da00b0000', // mov rbp,[IN+0x28]
  '488b35a10b0000', // mov rsi,[IN+0x30]
  '488b3da20b0000', // mov rdi,[IN+0x38]
  '9d', // popf
  '8e15030c0000', // mov ss,[IN+0xa0]
  '488b257c0b0000', // mov rsp,[IN+0x20]
  'ff2de60b0000', // jmp far [IN+0x90]
];

/** The bytes of the stub. */
export function stubCode(): Uint8Array {
  const code = new Uint8Array(0x500).fill(0xcc);
  for (const [at, lines] of [
    [ENTRY, entry],
    [EXIT, exit],
    [HANDLER, handler],
    [ENTRY_LEGACY, entryLegacy],
  ] as const) {
    code.set(Buffer.from(lines.join(''), 'hex'), at);
  }
  return code;
}
