/** Code that changes while it runs: by itself, through another mapping, by a device, or by the page tables. */
import { describe, expect, it } from 'vitest';
import type { Block } from '../../src/x86/block.ts';
import type { CpuBus } from '../../src/x86/cpu.ts';
import * as L from '../../src/x86/layout.ts';
import { makeProcessor } from './differential/guest.ts';
import { CODE, LongModeGuest, little, PAGES, relative, setHandler, VIRTUAL } from './long-mode.ts';

const OTHER = 0x12_000;

/** 1 + 2 + … + n */
const sum = (n: number): number => (n * (n + 1)) / 2;

const tiers: [string, number, number][] = [
  ['interpreter', Number.POSITIVE_INFINITY, 1000],
  ['translator', 1, 1000],
  ['translator, hot in the middle', 3, 17],
];

describe.each(tiers)('code that changes: %s', (_name, threshold, slice) => {
  const machine = (bus: Partial<CpuBus> = {}): LongModeGuest =>
    new LongModeGuest(makeProcessor(threshold, bus), { slice, most: 1000 });
  const N = 40;

  it('patches its next instruction', () => {
    const m = machine();
    // mov [rip+1], cl; mov eax, 0 (patched); add ebx, eax; loop; hlt
    m.write(CODE, '880d01000000 b800000000 01c3 e2ef f4');
    expect(m.run(N)).toBe(sum(N));
    expect(m.run(N)).toBe(sum(N));
  });

  it('patches an instruction that has run already, in the same line and in another', () => {
    for (const distance of [16, 100]) {
      const m = machine();
      // top: mov eax, 0; add ebx, eax; jmp far; … far: mov [top + 1], cl; loop top; hlt
      const far = CODE + distance;
      m.write(CODE, `b800000000 01c3 e9${relative(CODE + 12, far)}`);
      m.write(far, `880c25${little(CODE + 1)} ff c9 0f85${relative(far + 15, CODE)} f4`);
      expect(m.run(N)).toBe(sum(N) - 1);
    }
  });

  it('finishes a repeated instruction that overwrites itself', () => {
    const m = machine();
    // mov eax, 90909090h; mov edi, $rep; mov ecx, 8; rep: rep stosb; ud2; ud2; ud2; mov ebx, 7; hlt
    m.write(CODE, `b890909090 bf${little(CODE + 15)} b908000000 f3aa 0f0b 0f0b 0f0b bb07000000 f4`);
    expect(m.run(0)).toBe(7);
    expect(m.view.getUint32(L.GPR + 8, true)).toBe(0);
  });

  it('tells code apart that is found at the same place of the hash, and forgets only what has changed', () => {
    const m = machine();
    // physical ^ (physical >> HASH_BITS) is CODE for both
    const twin = 2 ** L.HASH_BITS + (CODE ^ 1);
    // call twin; add ebx, eax; mov [twin + 1], cl; loop; hlt
    m.write(CODE, `e8${relative(CODE + 5, twin)} 01c3 880c25${little(twin + 1)} e2f0 f4`);
    m.write(twin, 'b800000000 c3');
    expect(m.run(N)).toBe(sum(N) - 1);
    expect(m.run(N)).toBe(sum(N));
  });

  it('runs a page at two addresses, whose jumps out of it lead to different pages', () => {
    const m = machine();
    const [first, second] = [VIRTUAL, VIRTUAL + 0x2000];
    const [shared, left, right] = [0x14_000, 0x15_000, 0x16_000];
    for (const [n, physical] of [shared, left, shared, right].entries()) m.map(n, physical);
    // jmp +2; ud2; jmp to the next page, which is: add ebx, 1 or 100; ret
    m.write(shared, `eb02 0f0b e9${relative(9, 0x1000)}`);
    m.write(left, '83c301 c3');
    m.write(right, '83c364 c3');
    m.write(CODE, `e8${relative(CODE + 5, first)} e8${relative(CODE + 10, second)} e2f4 f4`);
    expect(m.run(N)).toBe(101 * N);
  });

  it('patches a function on another page', () => {
    const m = machine();
    // mov [OTHER + 1], cl; call OTHER; add ebx, eax; loop; hlt
    m.write(CODE, `880c25${little(OTHER + 1)} e8${relative(CODE + 12, OTHER)} 01c3 e2f0 f4`);
    m.write(OTHER, 'b800000000 c3');
    expect(m.run(N)).toBe(sum(N));
  });

  it('patches several instructions with one wide store, across a line and across a page', () => {
    for (const at of [OTHER + 56, OTHER + 4096 - 6]) {
      const m = machine();
      // rax = 01 c3 90 90 90 90 90 c3 or 29 c3 …, by the lowest bit of rcx
      const add = '01c3 9090909090 c3';
      const subtract = '29c3 9090909090 c3';
      m.write(CODE, `48b8${add} f6c101 740a 48b8${subtract}`.replaceAll(' ', ''));
      const store = CODE + 10 + 3 + 2 + 10;
      const call = store + 8;
      m.write(store, `48890425${little(at)} b801000000 e8${relative(call + 10, at)} `);
      const loop = call + 10;
      m.write(loop, `e2${little(CODE - loop - 2, 1)} f4`);
      expect(m.run(41) | 0).toBe(20 - 21);
    }
  });

  it('writes data beside code on its page', () => {
    for (const [data, most] of [
      [CODE + 0x800, 4],
      [CODE + 0x30, 200],
    ] as const) {
      const m = machine();
      // inc dword [data]; add ebx, [data]; loop; hlt
      m.write(CODE, `ff0425${little(data)} 031c25${little(data)} e2f0 f4`);
      m.write(data, '00000000');
      expect(m.run(N)).toBe(sum(N));
      // another line is not taken for code
      expect(m.cpu.stats().codeChanges).toBeLessThan(most);
    }
  });

  it('is changed by a device, the next instruction included', () => {
    let patched = CODE + 5;
    const m = machine({
      writePort: (_port, _size, value) => m.cpu.guestMemory.write(patched, new Uint8Array([value])),
    });
    // mov al, cl; out 80h, al; mov eax, 0 (patched); add ebx, eax; loop; hlt
    m.write(CODE, '88c8 e680 b800000000 01c3 e2f3 f4');
    expect(m.run(N)).toBe(sum(N));
    // the same with a function elsewhere
    patched = OTHER + 1;
    m.write(CODE, `88c8 e680 e8${relative(CODE + 9, OTHER)} 01c3 e2f3 f4`);
    m.write(OTHER, 'b800000000 c3');
    expect(m.run(N)).toBe(sum(N));
  });

  it('is written by the host between runs', () => {
    const m = machine();
    m.write(CODE, '83c301 e2fb f4'); // add ebx, 1; loop; hlt
    expect(m.run(N)).toBe(N);
    m.cpu.guestMemory.write(CODE + 2, new Uint8Array([3]));
    expect(m.run(N)).toBe(3 * N);
  });

  it('is mapped to another page', () => {
    const m = machine();
    const [one, two] = [0x20_000, 0x21_000];
    m.map(0, one);
    m.write(one, 'b801000000 c3');
    m.write(two, 'b864000000 c3');
    // mov eax, one | 3; test cl, 1; jz +5; mov eax, two | 3; mov [PAGES], rax; invlpg [VIRTUAL]; call; add; loop
    const call = CODE + 5 + 3 + 2 + 5 + 8 + 8;
    m.write(
      CODE,
      `b8${little(one | 3)} f6c101 7405 b8${little(two | 3)} 48890425${little(PAGES)} 0f013c25${little(VIRTUAL)}` +
        `e8${relative(call + 5, VIRTUAL)} 01c3 e2${little(CODE - call - 9, 1)} f4`,
    );
    expect(m.run(N)).toBe((N / 2) * 101);
  });

  it('is seen alike through two mappings, and knows where it is', () => {
    const m = machine();
    const shared = 0x22_000;
    m.map(0, shared);
    m.map(5, shared);
    m.write(shared, '488d0500000000 6690 c3'); // lea rax, [rip]; nop; ret
    // call VIRTUAL; mov edx, eax; call VIRTUAL + 5000h; sub eax, edx; add ebx, eax; loop; hlt
    m.write(
      CODE,
      `e8${relative(CODE + 5, VIRTUAL)} 89c2 e8${relative(CODE + 12, VIRTUAL + 0x5000)} 29d0 01c3 e2ee f4`,
    );
    expect(m.run(N)).toBe(N * 0x5000);
    // written through one, run through the other
    m.write(shared, 'b800000000 c3');
    m.write(CODE, `880c25${little(VIRTUAL + 0x5001)} e8${relative(CODE + 12, VIRTUAL)} 01c3 e2f0 f4`);
    expect(m.run(N)).toBe(sum(N));
  });

  it('runs on into a page that is mapped elsewhere or changed', () => {
    const m = machine();
    const [first, one, two] = [0x24_000, 0x26_000, 0x28_000];
    m.map(0, first);
    m.map(1, one);
    // mov eax, imm32 whose last three bytes lie on the second page, then ret
    m.write(first + 4094, 'b800');
    m.write(one, '010000 c3');
    m.write(two, '020000 c3');
    const at = VIRTUAL + 4094;
    const call = CODE + 5 + 3 + 2 + 5 + 8 + 8;
    m.write(
      CODE,
      `b8${little(one | 3)} f6c101 7405 b8${little(two | 3)} 48890425${little(PAGES + 8)}` +
        `0f013c25${little(VIRTUAL + 0x1000)} e8${relative(call + 5, at)} 01c3 e2${little(CODE - call - 9, 1)} f4`,
    );
    expect(m.run(N)).toBe((N / 2) * 0x300);
    // the second pages change, then the first: nothing may be left of what was there
    m.write(one, '030000');
    expect(m.run(N)).toBe((N / 2) * 0x500);
    m.write(two, '040000');
    expect(m.run(N)).toBe((N / 2) * 0x700);
    m.write(first + 4095, '01');
    expect(m.run(N)).toBe((N / 2) * 0x702);
    m.write(one, '000000');
    m.write(two, '000000');
    m.write(first + 4095, '05');
    expect(m.run(N)).toBe(N * 5);
  });

  it('loops over two pages, of which the second is mapped elsewhere or changed', () => {
    const m = machine();
    const [first, one, two] = [0x24_000, 0x26_000, 0x28_000];
    m.map(0, first);
    m.map(1, one);
    // a function: top: add eax, 1; nops into the next page: add eax, 2 (or 3); dec edx; jnz top; ret
    const top = VIRTUAL + 4096 - 32;
    m.write(first + 4096 - 32, `83c001${'90'.repeat(29)}`);
    const second = (n: number): string =>
      `83c0${little(n, 1)} ffca 0f85${relative(VIRTUAL + 4096 + 11, top)} c3`;
    m.write(one, second(2));
    m.write(two, second(3));
    // xor eax, eax; mov edx, 10; call top; add ebx, eax; then the other page; invlpg; loop
    const call = CODE + 2 + 5;
    const remap = call + 5 + 2;
    const end = remap + 5 + 3 + 2 + 5 + 8 + 8;
    m.write(
      CODE,
      `31c0 ba0a000000 e8${relative(call + 5, top)} 01c3` +
        `b8${little(one | 3)} f6c101 7405 b8${little(two | 3)} 48890425${little(PAGES + 8)}` +
        `0f013c25${little(VIRTUAL + 0x1000)} e2${little(CODE - end - 2, 1)} f4`,
    );
    // page one first, then two and one in turn
    m.map(1, two);
    expect(m.run(N)).toBe((N / 2) * 70);
    m.write(two, second(5));
    expect(m.run(N)).toBe((N / 2) * 90);
    m.write(first + 4096 - 32, '83c002');
    expect(m.run(N)).toBe((N / 2) * 110);
    // the page writes itself from the other one: mov byte [VIRTUAL + 1002h], dl in place of nops
    m.map(1, one);
    m.write(first + 4096 - 32, `83c001 881425${little(VIRTUAL + 0x1002)} ${'90'.repeat(22)}`);
    m.write(CODE, `31c0 ba0a000000 e8${relative(call + 5, top)} 01c3 e2${little(CODE - remap - 2, 1)} f4`);
    expect(m.run(N)).toBe(N * (10 + sum(10)));
  });

  it('has two instructions that run into the same page', () => {
    const m = machine();
    const [first, second] = [0x24_000, 0x25_000];
    // at ffdh: mov eax, …; at ffeh (inside it): mov al, 0b8h …: another decoding of the same bytes
    m.write(first + 4093, 'b8b8b8');
    m.write(second, '0100 c3 00 c3');
    const call = (to: number): number => {
      m.write(CODE, `e8${relative(CODE + 5, to)} 01c3 e2f7 f4`);
      return m.run(1);
    };
    // b8 b8b8 0100 c3 and b8 b8 0100c3 00(00…): the second reads c300 01 b8
    expect(call(first + 4093)).toBe(0x0001b8b8);
    m.write(second, '0100c3 c3');
    expect(call(first + 4094)).toBe(0xc30001b8);
    m.write(second, '0200 c3 c3');
    expect(call(first + 4093)).toBe(0x0002b8b8);
    expect(call(first + 4094)).toBe(0xc30002b8);
    m.write(second, '0300 c3 c3');
    expect(call(first + 4094)).toBe(0xc30003b8);
    expect(call(first + 4093)).toBe(0x0003b8b8);
  });

  it('keeps what a write beside it leaves alone', () => {
    const m = machine();
    // four functions in one page: the second ends where the third begins; the fourth is in another line
    const [one, two, three, four] = [OTHER, OTHER + 8, OTHER + 14, OTHER + 0x400];
    m.write(one, 'b801000000 c3');
    m.write(two, 'b802000000 c3');
    m.write(three, 'b803000000 c3');
    m.write(four, 'b804000000 c3');
    const calls = [one, two, three, four]
      .map((to, i) => `e8${relative(CODE + 7 * i + 5, to)} 01c3`)
      .join(' ');
    m.write(CODE, `${calls} e2${little(-30, 1)} f4`);
    expect(m.run(N)).toBe(10 * N);
    const known = (): boolean[] => {
      const { code } = m.cpu;
      const mode = m.view.getInt32(L.MODE, true);
      return [one, two, three, four].map((at) => code.peek(at, mode) !== undefined);
    };
    expect(known()).toEqual([true, true, true, true]);
    const { codeChanges: before } = m.cpu.stats();
    // just behind the first and just before the second; behind the third
    m.write(one + 6, 'cccc');
    m.write(three + 6, 'cc');
    m.write(four - 1, 'cc');
    expect(known()).toEqual([true, true, true, true]);
    expect(m.cpu.stats().codeChanges).toBe(before);
    expect(m.run(N)).toBe(10 * N);
    // the second's last byte, the third's first
    m.write(two + 5, 'c3');
    expect(known()).toEqual([true, false, true, true]);
    expect(m.run(N)).toBe(10 * N);
    m.write(three, 'b8');
    expect(known()).toEqual([true, true, false, true]);
    expect(m.run(N)).toBe(10 * N);
    // both
    m.write(two + 4, '00c3b807');
    expect(known()).toEqual([true, false, false, true]);
    expect(m.run(N)).toBe(14 * N);
    // across lines
    m.write(four - 4, 'cccccccc b805');
    expect(known()).toEqual([true, true, true, false]);
    expect(m.run(N)).toBe(15 * N);
    // the same by the guest itself: mov [two + 1], cl
    m.write(CODE, `880c25${little(two + 1)} e8${relative(CODE + 12, two)} 01c3 e2${little(-16, 1)} f4`);
    expect(m.run(N)).toBe(sum(N));
    expect(known()).toEqual([true, true, true, true]);
  });

  it('has a branch that is hardly ever taken, and changes there', () => {
    const m = machine();
    const rare = CODE + 0x40;
    // top: test cl, 3; jz rare; add ebx, 1; next: loop top; hlt … rare: add ebx, 100 (patched); jmp next
    m.write(CODE, `f6c103 0f84${relative(CODE + 9, rare)} 83c301 e2f2 f4`);
    m.write(rare, `83c364 e9${relative(rare + 8, CODE + 12)}`);
    expect(m.run(400)).toBe(300 + 100 * 100);
    const looped = (): Block => m.cpu.code.peek(CODE, m.view.getInt32(L.MODE, true))!;
    const { region } = looped();
    expect(region !== undefined).toBe(threshold !== Number.POSITIVE_INFINITY);
    const shared = region?.region.blocks.some(({ physical }) => physical === rare) ?? false;
    expect(shared).toBe(threshold === 3);
    m.write(rare + 2, '32');
    expect(looped().region).toBe(shared ? undefined : region);
    expect(m.run(400)).toBe(300 + 100 * 50);
    // what the change has left alone becomes hot again
    expect(looped().region !== undefined).toBe(region !== undefined);
    // by itself: mov byte [rare + 2], cl in front of it, which is a multiple of 4
    const writes = CODE + 0x80;
    m.write(CODE + 3, `0f84${relative(CODE + 9, writes)}`);
    m.write(writes, `880c25${little(rare + 2)} e9${relative(writes + 12, rare)}`);
    expect(m.run(100)).toBe(75 + 4 * sum(25));
    expect(m.run(100)).toBe(75 + 4 * sum(25));
  });

  it('is written beside without end', () => {
    const m = machine();
    // inc dword [data]; add ebx, [data]; loop; hlt, and data in the line of a function that is called now and then
    const data = OTHER + 16;
    m.write(OTHER, '83c301 c3');
    m.write(data, '00000000');
    m.write(
      CODE,
      `ff0425${little(data)} 031c25${little(data)} f6c10f 7505 e8${relative(CODE + 24, OTHER)} e2e6 f4`,
    );
    expect(m.run(1600)).toBe(sum(1600) + 100);
    expect(m.cpu.stats().codeChanges).toBeLessThan(60);
  });

  it('runs on into the next page, whose other code stays', () => {
    const m = machine();
    const [first, second] = [0x24_000, 0x25_000];
    m.write(first + 4094, 'b800');
    m.write(second, '010000 c3');
    m.write(second + 32, 'b805000000 c3');
    const calls = [first + 4094, second + 32]
      .map((to, i) => `e8${relative(CODE + 7 * i + 5, to)} 01c3`)
      .join(' ');
    m.write(CODE, `${calls} e2${little(-16, 1)} f4`);
    const mode = (): number => m.view.getInt32(L.MODE, true);
    expect(m.run(N)).toBe(N * (0x100 + 5));
    const across = m.cpu.code.peek(first + 4094, mode());
    const behind = m.cpu.code.peek(second + 32, mode());
    // one byte behind it, one byte before it
    m.write(second + 4, 'cc');
    m.write(first + 4093, 'cc');
    expect(m.cpu.code.peek(first + 4094, mode())).toBe(across);
    m.write(second + 1, '01');
    expect(m.cpu.code.peek(first + 4094, mode())).toBeUndefined();
    expect(m.cpu.code.peek(second + 32, mode())).toBe(behind);
    expect(m.run(N)).toBe(N * (0x10100 + 5));
    m.write(first + 4094, 'b801');
    expect(m.cpu.code.peek(first + 4094, mode())).toBeUndefined();
    expect(m.run(N)).toBe(N * (0x10101 + 5));
    m.write(second + 33, '06');
    expect(m.run(N)).toBe(N * (0x10101 + 6));
    // over the border
    m.write(first + 4095, '0202');
    expect(m.run(N)).toBe(N * (0x10202 + 6));
  });

  it('becomes defined after it was not, in a line of its own', () => {
    const m = machine();
    // the undefined instruction starts a line; a first run faults, the handler halts
    const handler = 0x31_000;
    setHandler(m.cpu, 6, handler);
    m.write(handler, 'bb99000000 f4'); // mov ebx, 99h; hlt
    const start = CODE + 64 - 3;
    m.write(start, '83c301 0fff00 f4'); // add ebx, 1; ud0
    expect(m.run(1, start)).toBe(0x99);
    m.write(start + 3, '83c304'); // by a device
    expect(m.run(1, start)).toBe(5);
    // by the guest: mov dword [start + 3], f405c383h; jmp start
    m.write(start + 3, '0fff00 f4');
    expect(m.run(1, start)).toBe(0x99);
    m.write(OTHER, `c70425${little(start + 3)} 83c305f4 e9${relative(OTHER + 16, start)}`);
    expect(m.run(1, OTHER)).toBe(6);
  });
});
