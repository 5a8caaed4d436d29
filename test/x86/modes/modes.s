# A ROM of 64 KiB that takes the processor through its modes: real, protected 32-bit with rings and limits, 16-bit
# protected, long, compatibility, and back to real mode. What it finds goes to port E9h, four bytes at a time; the
# same bytes come from any right processor. To be linked at 0: offsets are those of segment F000h.
#
#   as --64 -o modes.o modes.s && ld -Ttext 0 --oformat binary -o modes.rom modes.o

    .intel_syntax noprefix
    .set ROM, 0xf0000
    # where tables lie in RAM
    .set GDT, 0x1000
    .set IDT32, 0x2000
    .set DATA, 0x3000
    .set TSS, 0x4000
    .set IDT64, 0x6000
    .set PML4, 0x8000
    .set PDPT, 0x9000
    .set PD, 0xa000
    # selectors
    .set CODE32, 0x08
    .set DATA32, 0x10
    .set SMALL, 0x18
    .set READONLY, 0x20
    .set STACKSEG, 0x28
    .set CODE16, 0x30
    .set CODE64, 0x38
    .set ABSENT, 0x40
    .set EXPANDDOWN, 0x48
    .set EXECONLY, 0x50
    .set DATA16, 0x58
    .set TSSSEL, 0x60
    .set USER32, 0x68 + 3
    .set USERDATA, 0x70 + 3
    .set GATE, 0x78 + 3
    .set USER64, 0x80 + 3

    .include "real.s"
    .include "protected.s"
    .include "long.s"

    .balign 8
gdt:
    .quad 0
    .quad 0x00cf9a000000ffff # CODE32
    .quad 0x00cf92000000ffff # DATA32
    .quad 0x00409200300000ff # SMALL: base 3000h, limit FFh
    .quad 0x00cf90000000ffff # READONLY
    .quad 0x0040920000006fff # STACKSEG: limit 6FFFh
    .quad 0x00009a0f0000ffff # CODE16: base F0000h
    .quad 0x00af9a000000ffff # CODE64
    .quad 0x00cf12000000ffff # ABSENT
    .quad 0x0040960000000fff # EXPANDDOWN: offsets above FFFh
    .quad 0x00cf98000000ffff # EXECONLY
    .quad 0x000092000000ffff # DATA16
    .quad 0x0000890040000067 # TSSSEL
    .quad 0x00cffa000000ffff # USER32
    .quad 0x00cff2000000ffff # USERDATA
    .word gate, CODE32, 0xec02, 0x000f # GATE: two parameters
    .quad 0x00affa000000ffff # USER64
gdt_end:
gdt_pointer:
    .word gdt_end - gdt - 1
    .long GDT
idt32_pointer:
    .word 0x43 * 8 - 1
    .long IDT32
idt64_pointer:
    .word 32 * 16 - 1
    .quad IDT64
real_idt:
    .word 0x3ff
    .long 0
short_idt:
    .word 0xff
    .long 0

    .org 0xfff0
    .byte 0xea
    .word start, 0xf000
    .org 0x10000
