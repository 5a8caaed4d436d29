// Where the processor keeps its things in the WebAssembly memory. Plain numeric constants only: this file is read
// by TypeScript (decoder, translator, tests) and by the AssemblyScript runtime alike. All addresses are byte
// addresses in the memory; guest RAM starts at RAM_BASE. Everything a decoded record points to lies below 64 KiB.

/**
 * RAX RCX RDX RBX RSP RBP RSI RDI R8..R15, 8 bytes each: below 128, where the host's instructions need one byte for the
 * distance from the memory's start, but for R15.
 */
export const GPR = 8;
export const RAX = 8;
export const RCX = 16;
export const RDX = 24;
export const RBX = 32;
export const RSP = 40;
export const RBP = 48;
export const RSI = 56;
export const RDI = 64;

/**
 * Pages that accesses in the loops of the running region were in last time, cleared as a region is entered (Memo in
 * translator/memory.ts), 32 bytes each: u64: what to compare, 0 = nothing yet; u64: page; i32: addend as in the TLB.
 */
export const MEMOS = 512;
export const MEMO_PAGE = 8;
export const MEMO_ADDEND = 16;
export const MAX_MEMOS = 16;

export const RIP = 1152;
/** Always 0: stands for a missing base or index register. */
export const ZERO = 1160;
/** Always 2^32 and -2^32: stand for an index register where a displacement does not fit in REC_DISP. */
export const PLUS_4G = 1984;
export const MINUS_4G = 1992;
/** u64: guest-virtual address of the page whose instructions run now (linear = CS base included). */
export const VBASE = 1168;

// Arithmetic flags are lazy: CC_OP says how to compute them from the three values (see flags in docs/processor.md).
/** i32 */
export const CC_OP = 1176;
/** i32: nonzero asks the interpreter to leave the block after this instruction (see BREAK). */
export const BREAK = 1180;
/** u64 each */
export const CC_DST = 1184;
export const CC_SRC = 1192;
export const CC_SRC2 = 1200;
/** i32: all bits of RFLAGS except CF PF AF ZF SF OF, which are lazy. Bit 1 is set. */
export const EFLAGS = 1208;
/** i32: 0..3 */
export const CPL = 1212;
/** i32: address of the TLB that belongs to the present privilege (see TLB). */
export const TLB_BASE = 1216;
/** i32: processor mode bits that decoding depends on (MODE_*). */
export const MODE = 1220;

// Segment registers, index: ES 0, CS 1, SS 2, DS 3, FS 4, GS 5, LDTR 6, TR 7.
/** u64 each. In 64-bit mode ES, CS, SS, DS hold 0 here. */
export const SEG_BASE = 1224;
/** u32 each: last valid offset (granularity applied). */
export const SEG_LIMIT = 1288;
/** u32 each: selector. */
export const SEG_SEL = 1320;
/** u32 each: descriptor bits 40..55 (type, S, DPL, P, AVL, L, D/B, G) as bits 0..15; 0 with SEG_NULL = unusable. */
export const SEG_ATTR = 1352;

/** u64 base, u32 limit. */
export const GDT_BASE = 1384;
export const GDT_LIMIT = 1392;
export const IDT_LIMIT = 1396;
export const IDT_BASE = 1400;

/** u64 each. */
export const CR0 = 1408;
export const CR2 = 1416;
export const CR3 = 1424;
export const CR4 = 1432;
export const XCR0 = 1440;
export const EFER = 1448;
export const STAR = 1456;
export const LSTAR = 1464;
export const CSTAR = 1472;
export const FMASK = 1480;
export const KERNEL_GS_BASE = 1488;
export const SYSENTER_CS = 1496;
export const SYSENTER_ESP = 1504;
export const SYSENTER_EIP = 1512;
export const TSC_AUX = 1520;
export const PAT = 1528;
/** DR0..DR7, u64 each. */
export const DR = 1536;
/** i64: added to the host's clock by RDTSC. */
export const TSC_OFFSET = 1600;
export const APIC_BASE = 1608;
export const MISC_ENABLE = 1616;
/** Two u32 through which MSR values go to and from TypeScript. */
export const MSR_LOW = 1624;
export const MSR_HIGH = 1628;
/** MTRR: def type, fixed (11), variable base/mask (8 pairs); u64 each. Kept, without effect. */
export const MTRR_DEF_TYPE = 1632;
export const MTRR_FIXED = 1640;
export const MTRR_VARIABLE = 1728;
export const SPEC_CTRL = 1856;
/** u64: rights by protection key for supervisor pages (IA32_PKRS). */
export const PKRS = 1864;

/** i32: vector of the exception that was raised (with status EXCEPTION), and its error code (-1: has none). */
export const EXC_VECTOR = 1872;
export const EXC_ERROR = 1876;
/** i32: bit set of ATTENTION_*; nonzero makes the dispatcher stop at the next block boundary. */
export const ATTENTION = 1880;
/** i32: 1 after STI, SHADOW_STACK after MOV SS and POP SS (debug traps wait too), until the next instruction is done. */
export const SHADOW = 1884;
export const SHADOW_STACK = 2;
/** i32: 1 while a translated region runs: memory helpers then fail without raising (the interpreter repeats it). */
export const IN_REGION = 1888;
/** i32: 1 in HLT. */
export const HALTED = 1892;
/** i32: instructions that may still run before the dispatcher returns. */
export const BUDGET = 1896;
/** u64: instructions executed. */
export const ICOUNT = 1904;
/** i32: address-space generation etc. for statistics. */
export const STAT_TLB_MISS = 1912;
export const STAT_TLB_FLUSH = 1916;
export const STAT_EXCEPTIONS = 1920;
export const STAT_INTERRUPTS = 1924;
export const STAT_REGION_EXITS = 1928;
export const STAT_SMC = 1932;
export const STAT_INTERP_BLOCKS = 1936;
export const STAT_REGION_RUNS = 1940;
export const STAT_MMIO = 1944;
export const STAT_PORT = 1948;
/** u64: instructions executed in the interpreter. */
export const STAT_INTERP_INSNS = 1952;

/**
 * Two u32: change whenever a jump cache entry for code below CPL 3, and at CPL 3, may have become wrong (mappings,
 * regions taken out of use). 23 bits of each count, and are never 0. That of a MODE is at
 * JUMP_GENERATION + ((MODE & MODE_CPL3) >> JUMP_GENERATION_SHIFT).
 */
export const JUMP_GENERATION = 1968;
export const JUMP_GENERATION_SHIFT = 4;

/** u32: record of the instruction at which a region was left (status FAULTED or INTERPRET). */
export const FAULT_RECORD = 1964;
/** u32: the region, by its table index, that was left with the status INTERPRET. */
export const LEFT_REGION = 1980;

/**
 * u32: for how many instructions after a look at the host's clock RDTSC may go by the number of instructions done since;
 * 0 = it always looks.
 */
export const TSC_ESTIMATE = 1976;

/** XMM0..XMM15, 16 bytes each. */
export const XMM = 2048;
/** x87 R0..R7 (physical registers, not stack-relative): significand u64, then sign/exponent u16; 16 bytes each. */
export const X87 = 2304;
/** u32 each: control, status (TOP kept in bits 11..13), tag word (full 2-bit form), MXCSR. */
export const FCW = 2432;
export const FSW = 2436;
export const FTW = 2440;
export const MXCSR = 2444;
export const FOP = 2448;
export const FCS = 2452;
export const FDS = 2456;
export const FIP = 2464;
export const FDP = 2472;
/** u32: exception flags that SSE arithmetic met unmasked; who raises #XM for them clears it. */
export const SSE_PENDING = 2480;
/** u32: rights by protection key for user pages. */
export const PKRU = 2484;
/** Where XSAVE's standard form has PKRU in its area. */
export const PKRU_OFFSET = 2688;

/** u32: handler that comes back to the dispatcher, behind an instruction that runs alone. */
export const STOP_HANDLER = 2488;
/** Two records: such an instruction, and what follows. */
export const SINGLE = 2496;

/** 64 bytes, aligned: where accesses that are not plain RAM inside one page are put together. */
export const BOUNCE = 2560;
/** u64: address, i32: size of the read-modify-write that BOUNCE holds. */
export const RMW_VA = 2624;
export const RMW_SIZE = 2632;
/** u32: header of the block that the interpreter runs; 0 = it is not to go on from one block to the next by itself. */
export const INTERP_BLOCK = 2636;
/** u32: where the next block goes in RECORDS. */
export const RECORDS_NEXT = 2640;
/** u32: handler of the record behind a block that runs on. */
export const BLOCK_END_HANDLER = 2644;
/** i32: what the countdown of a new block begins with. */
export const FIRST_COUNTDOWN = 2648;
/** u32 each: blocks decoded, and their instructions. */
export const STAT_BLOCKS = 2652;
export const STAT_BLOCK_INSNS = 2656;
/** i32: BUDGET when the interpreter began, after a region or the dispatcher; for counting its instructions. */
export const INTERP_BUDGET = 2660;

/** CPUID table: u32 count at CPUID_COUNT; entries of 6 u32 (leaf, subleaf or 0xffffffff for any, eax ebx ecx edx). */
export const CPUID_COUNT = 2688;
export const CPUID_TABLE = 2704;
export const CPUID_MAX = 96;

// MODE bits.
/** Code size of CS: 0 = 16 bit, 1 = 32 bit, 2 = 64 bit. */
export const MODE_CODE = 3;
/** Stack address size: 0 = 16, 1<<2 = 32, 2<<2 = 64. */
export const MODE_STACK_SHIFT = 2;
/** Protected mode (CR0.PE), not virtual-8086. */
export const MODE_PROTECTED = 16;
/** CS, SS, DS, ES have base 0 and limit 4 GiB (always set in 64-bit mode): address formation needs no checks. */
export const MODE_FLAT = 32;
export const MODE_CPL3 = 64;
/** SSE raises #UD (CR0.EM or not CR4.OSFXSAVE); SSE, MMX and x87 raise #NM (CR0.TS or, for x87, EM). */
export const MODE_NO_SSE = 128;
export const MODE_NO_FPU = 256;

// ATTENTION bits.
/** The interrupt line is high (an APIC or PIC has something to deliver). */
export const ATTENTION_INTR = 1;
/** Somebody wants `run` to return. */
export const ATTENTION_STOP = 2;
export const ATTENTION_NMI = 4;
/** The machine must be reset (triple fault). */
export const ATTENTION_SHUTDOWN = 8;
/** RFLAGS.TF is set: debug exception after the next instruction. */
export const ATTENTION_TRAP = 16;
/** DR7 enables an instruction breakpoint, or a data breakpoint has been hit. */
export const ATTENTION_DEBUG = 32;

// What a function for an instruction returns. Handlers add the address of the record, which is a multiple of 16.
/** Go on with the next record. */
export const NEXT = 0;
/** Only from helpers called inside a region: leave it at this instruction, the interpreter does it again. */
export const REEXECUTE = 1;
/** An exception was raised: EXC_VECTOR, EXC_ERROR. The dispatcher sets RIP to this instruction and delivers it. */
export const EXCEPTION = 2;
/** The block ends and RIP has been set. */
export const END_BLOCK = 3;
/** Only from regions: nothing was done, because one of its pages is mapped elsewhere now. */
export const REMAPPED = 4;
/** Only from regions: a runtime function that it called for an instruction (FAULT_RECORD) has raised an exception. */
export const FAULTED = 5;
/** Only from regions: left at an instruction (FAULT_RECORD); the interpreter does it, and the rest of its block. */
export const INTERPRET = 6;
/** Bit of a region's entry number: its pages have to be compared with the TLB first. */
export const ENTRY_CHECK = 0x4000_0000;

// TLB: three tables (supervisor with SMAP in force, supervisor without, user), TLB_ENTRIES each of 32 bytes:
// u64 read tag, u64 write tag, u64 execute tag (page address, or TLB_INVALID), i32 addend, u32 physical page
// number. Address in memory = (i32) va + addend. The index is (va >> 12) & (TLB_ENTRIES - 1).
export const TLB = 133169152;
export const TLB_ENTRIES = 8192;
export const TLB_ENTRY_SHIFT = 5;
/** Bytes of one table. */
export const TLB_BYTES = 262144;
/** What runtime/tlb.ts notes of the entries: 192 KiB. */
export const TLB_NOTES = 65536;
export const TLB_READ = 0;
export const TLB_WRITE = 8;
export const TLB_EXEC = 16;
export const TLB_ADDEND = 24;
export const TLB_PFN = 28;
/** No page address is odd. */
export const TLB_INVALID = 1;

/** Static data of the AssemblyScript runtime: 256 KiB. */
export const RUNTIME_DATA = 262144;

/**
 * The jump cache: from a linear address straight to a region, or to a block for the interpreter, in front of TLB and
 * hash. Entries of 16 bytes: u64 linear address, u32 generation << 9 | MODE, u32 region as in BLOCK_REGION or
 * JUMP_TO_BLOCK | address of a block's header. That says, too, whether the entry still holds (BLOCK_STATE).
 */
export const JUMP_CACHE = 27262976;
export const JUMP_CACHE_ENTRIES = 262144;
export const JUMP_TO_BLOCK = -0x8000_0000;

/**
 * Forms of instructions of 64-bit code that have been met (runtime/forms.ts), found by a hash of their heads: slots of 16
 * bytes, u64 the head's bytes and FORM_MARK (0 = free), u32 address of the form. At most half of them are in use; a
 * guest could make up any number of heads, so when there are MAX_FORMS the store is emptied.
 */
export const FORM_SLOTS = 125829120;
export const FORM_SLOT_BITS = 17;
export const FORM_SLOT_COUNT = 131072;
export const MAX_FORMS = 65536;
/** In the top byte of a key, so that none is 0: heads of at most seven bytes are kept. */
export const FORM_MARK = 1;
export const MAX_HEAD = 7;
/** u8 for each map and opcode: what follows in the code (FORM_PLAIN …). */
export const FORM_OPCODES = 786432;
export const FORM_PLAIN = 0;
export const FORM_MODRM = 1;
/** Depends on more than map and opcode: decoded each time. */
export const FORM_UNCLEAR = 2;
/** Of the one-byte map: legacy prefixes, REX, 0Fh, and VEX of two and three bytes. */
export const FORM_PREFIX = 3;
export const FORM_REX = 4;
export const FORM_ESCAPE = 5;
export const FORM_VEX2 = 6;
export const FORM_VEX3 = 7;

/**
 * Handlers of two instructions in a row (interpreter/pairs.ts). u8 for each handler below COUNTED_HANDLERS: its number
 * among those that pairs are made of, from 1, or 0; u32 for each two numbers: the handler of both, or 0 (which it is
 * for number 0); u32 for each handler below COUNTED_HANDLERS: that of the first instruction alone, for one of a pair.
 */
export const PAIR_NUMBERS = 851968;
export const PAIRED_FORMS = 128;
export const PAIR_HANDLERS = 868352;
export const FIRST_HANDLERS = 933888;

/** Forms, of FORM_BYTES each: the record, then u8 length of the instruction, kinds of displacement and immediate, flags. */
export const FORMS = 127926272;
export const FORM_BYTES = 64;
export const FORM_LENGTH = 32;
export const FORM_DISPLACEMENT = 33;
export const FORM_IMMEDIATE = 34;
export const FORM_FLAGS = 35;
/** Numbers in the code: how many bytes, and NUMBER_UNSIGNED when they are not sign-extended. */
export const NUMBER_NONE = 0;
export const NUMBER_BYTES = 15;
export const NUMBER_UNSIGNED = 16;

// Flags of a form: what matters to a block about an instruction.
export const FORM_ENDS = 1;
/** It ends with a jump or call whose target is in a register or in memory. */
export const FORM_INDIRECT = 2;
/** It names a vector register; an MMX register. */
export const FORM_VECTOR = 4;
export const FORM_MMX = 8;
/** The displacement, or the branch target, counts from behind the instruction. */
export const FORM_RIP = 16;
export const FORM_RELATIVE = 32;
export const FORM_MEMORY = 64;
/** It always leaves its block, so that no record needs to follow. */
export const FORM_LEAVES = 128;

/**
 * Figures for reports, a u32 for each handler below COUNTED_HANDLERS: how often a region was left for the interpreter at
 * such an instruction; how often regions have called it (counted only when a report is wanted).
 */
export const COUNTED_HANDLERS = 16384;
export const EXIT_COUNTS = 1966080;
export const CALL_COUNTS = 2031616;

/** One u32 for each guest-physical page of 4 KiB: address of the page in this memory | PAGE_*; 0 = not memory. */
export const PAGE_TABLE = 2097152;
/** Pages the table covers: 8 GiB of guest-physical space. */
export const PAGE_TABLE_ENTRIES = 2097152;
export const PAGE_RAM = 1;
export const PAGE_ROM = 2;
/** Instructions of this page have been decoded: writes must look at CODE_LINES. */
export const PAGE_CODE = 4;

/** One u64 for each physical page: bit n = the 64-byte line n holds decoded instructions. */
export const CODE_LINES = 10485760;

/**
 * Blocks by physical address (runtime/blocks.ts): u32 each, header of the first block of a chain (BLOCK_CHAIN), or 0. Its
 * number is that of the address' low HASH_BITS bits, XOR the bits above them.
 */
export const HASH = 132120576;
export const HASH_ENTRIES = 262144;
export const HASH_BITS = 18;

/** u32 for each guest-physical page: header of the first of the blocks that lie in it and in no other, or 0. */
export const PAGE_BLOCKS = 31457280;

/** Decoded records and block headers: a bump allocator, emptied as a whole. Where the first block begins. */
export const RECORDS = 39845920;
export const RECORDS_END = 125829120;

/**
 * Bytes of a block's header in RECORDS; its records follow. The second half, which the interpreter reads for each block,
 * shares a line of the host's cache with the first record (BLOCK_ALIGNMENT).
 */
export const BLOCK_HEADER = 64;
/** Blocks begin 32 bytes behind a multiple of this. */
export const BLOCK_ALIGNMENT = 64;
/** Most instructions of one block: longer straight runs go on in the next. */
export const MAX_BLOCK_INSNS = 64;
/** Most bytes of a block: header, records, markers, TARGETS. */
export const MAX_BLOCK_BYTES = 2304;
/** u32 in the header: number of instructions, bytes that it depends on, BLOCK_ENDS_* (from the lowest bits on). */
export const BLOCK_SHAPE = 0;
export const SHAPE_INSNS = 127;
export const SHAPE_BYTES = 1023;
export const SHAPE_BYTES_SHIFT = 7;
export const SHAPE_END_SHIFT = 17;
export const SHAPE_END = 3;
/** All of that; above it, that the countdown is to the hot threshold, no longer to the first one. */
export const SHAPE = 0x7ffff;
export const SHAPE_COUNTED = 0x8000_0000;
/** Runs on; does not decode; ends with a control transfer or system instruction; with a jump or call to any address. */
export const BLOCK_ENDS_NOT = 0;
export const BLOCK_ENDS_INVALID = 1;
export const BLOCK_ENDS_TRANSFER = 2;
export const BLOCK_ENDS_INDIRECT = 3;
/** u64 in the header: physical address | MODE << 48. */
export const BLOCK_KEY = 8;
export const BLOCK_KEY_SHIFT = 48;
/** u32 in the header: the physical page that the last instruction runs into, plus 1; 0 where there is none. */
export const BLOCK_NEXT_PAGE = 16;
/** u32 in the header: the next block of the same page (PAGE_BLOCKS), or 0. */
export const BLOCK_NEXT = 20;
/** u32 in the header: the next block with the same place in HASH, or 0. */
export const BLOCK_CHAIN = 24;
/** u32 in the header: 1 when the dispatcher has entered the block's region since that was asked last (CodeCache). */
export const BLOCK_USED = 28;
/** i32 in the header: how often the block has yet to run to be hot. */
export const BLOCK_COUNTDOWN = 32;
/**
 * u32 in the header: not 0 when the interpreter has to look it up again by its physical address, because it is gone, has a
 * region, or lies in two pages.
 */
export const BLOCK_STATE = 36;
/** u32 in the header: where the last few targets of an indirect jump or call at the end go (TARGETS of u64 each), or 0. */
export const BLOCK_TARGETS = 40;
/** u32 in the header: the region that can be entered here, function index << 10 | entry point; 0 = none. */
export const BLOCK_REGION = 44;
/**
 * In the header, where control went after the block last: u64 linear address, u32 JUMP_GENERATION << 9 | MODE then
 * (NO_STAMP: nothing is known yet), u32 block. A jump cache of one entry that lies where the interpreter is anyhow:
 * looking further away nearly always misses the host's own cache. Within a page, wherever that is mapped, it is always the
 * same code: then the address is the offset in the page, with the top bit set, and the stamp MODE alone, as if
 * JUMP_GENERATION were 0, which it never is.
 */
export const BLOCK_LINK = 48;
/** No such MODE exists. */
export const NO_STAMP = -1;
/** How many targets of an indirect branch are remembered for the translator; a power of two. */
export const TARGETS = 8;

/** Guest RAM. */
export const RAM_BASE = 134217728;

// A decoded record: 32 bytes.
/** u32: index of the handler in the function table. */
export const REC_HANDLER = 0;
/** u16: offset of the instruction in its page (VBASE + this = its linear address). */
export const REC_OFFSET = 4;
/** u8: length in bytes. */
export const REC_LENGTH = 6;
/** u8: REC_FLAG_* */
export const REC_FLAGS = 7;
/** u16 each: addresses of the register operands (GPR, high byte registers at +1, XMM, X87 slot), operand order. */
export const REC_R0 = 8;
export const REC_R1 = 10;
export const REC_R2 = 12;
/** u8: operand size in bytes (1 2 4 8 16). */
export const REC_OPSIZE = 14;
/** u8: address size in bytes (2 4 8). */
export const REC_ADDRSIZE = 15;
/** u16 each: addresses of the u64 values of base, index (ZERO when missing) and segment base. */
export const REC_BASE = 16;
export const REC_INDEX = 18;
export const REC_SEGBASE = 20;
/** u8: log2 of the scale. */
export const REC_SCALE = 22;
/** u8: segment register index. */
export const REC_SEG = 23;
/** With a memory operand: i32 displacement (for RIP-relative operands REC_BASE is VBASE and this counts from there). */
export const REC_DISP = 24;
/** With a memory operand: i32 immediate. */
export const REC_MEM_IMM = 28;
/** Without one: i64 immediate, sign-extended as the instruction says; branch targets: offset from VBASE. */
export const REC_IMM = 24;
/** Its upper half, for two immediates of 32 bits: ENTER's level, the selector of a far pointer. */
export const REC_IMM2 = 28;
/** i64: the address in the instruction, of moves between memory and the accumulator. */
export const REC_ADDRESS = 24;
export const REC_BYTES = 32;
export const REC_FLAG_REP = 1;
export const REC_FLAG_REPNE = 2;
export const REC_FLAG_LOCK = 4;
/** The ModRM operand is in memory. */
export const REC_FLAG_MEM = 8;

// CC_OP: kind * 4 + log2(operand bytes) in the low byte. Instructions that set only CF, or CF and OF (rotates, BT, STC …)
// leave the rest as it is and say so in the upper bits: with CC_OVER_CF set, CF is the bit CC_CARRY, whatever the kind
// says; with CC_OVER_OF set, OF is the bit CC_OVERFLOW. Values are zero-extended from the operand size.
// LOGIC dst=result; ADD dst=result src=right operand; SUB dst=left src=right operand; ADC, SBB like ADD, SUB with
// src2=carry in; INC, DEC dst=result src2=carry flag kept; SHL dst=result src=value shifted by count-1 (CF is its top
// bit); SHR (and SAR) likewise (CF is its lowest bit); OF = top bit of (src ^ result); MUL dst=low half, CF=OF=(src!=0).
/** src = the six arithmetic flags at their places in RFLAGS. */
export const CC_EFLAGS = 0;
export const CC_LOGIC = 4;
export const CC_ADD = 8;
export const CC_SUB = 12;
export const CC_ADC = 16;
export const CC_SBB = 20;
export const CC_INC = 24;
export const CC_DEC = 28;
export const CC_SHL = 32;
export const CC_SHR = 36;
export const CC_MUL = 40;
/** IMUL of two or three operands: dst=low half, src and src2=the factors, sign-extended to 64 bits. */
export const CC_IMUL = 44;
export const CC_KIND = 0xfc;
export const CC_OVER_CF = 0x100;
export const CC_OVER_OF = 0x200;
export const CC_CARRY = 0x10000;
export const CC_CARRY_SHIFT = 16;
export const CC_OVERFLOW = 0x20000;
export const CC_OVERFLOW_SHIFT = 17;
