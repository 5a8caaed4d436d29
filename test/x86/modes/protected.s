# Protected mode: 32 bits with rings, limits and gates, then 16 bits. Part of modes.s.

# --- protected mode, 32 bits ----------------------------------------------------------------------------------------
    .code32
emit32:
    push ecx
    mov ecx, 4
1:  out 0xe9, al
    ror eax, 8
    loop 1b
    pop ecx
    ret

protected:
    mov ax, DATA32
    mov ds, ax
    mov es, ax
    mov ss, ax
    mov esp, 0x7000
    # gates: vectors 0 to 31, 41h (for ring 3), 42h
    mov edi, IDT32
    mov ebx, offset stubs32 + ROM
    mov ecx, 0x43
1:  mov [edi], bx
    mov word ptr [edi + 2], CODE32
    mov word ptr [edi + 4], 0x8e00
    mov eax, ebx
    shr eax, 16
    mov [edi + 6], ax
    add edi, 8
    add ebx, 16
    loop 1b
    mov byte ptr [IDT32 + 0x41 * 8 + 5], 0xee
    # TSS: ring-0 stack
    mov dword ptr [TSS + 4], 0x6f00
    mov dword ptr [TSS + 8], DATA32
    mov word ptr [TSS + 102], 104
    mov ax, TSSSEL
    ltr ax

    mov eax, 0xa0000010
    call emit32
    str ax
    movzx eax, ax
    call emit32
    # the descriptors have been marked as used, the TSS as busy
    mov eax, [GDT + CODE32 + 4]
    call emit32
    mov eax, [GDT + DATA32 + 4]
    call emit32
    mov eax, [GDT + TSSSEL + 4]
    call emit32
    # limits
    mov eax, 0xa0000011
    call emit32
    mov ax, SMALL
    mov fs, ax
    mov dword ptr [DATA + 0xfc], 0x12345678
    mov edi, offset p1 + ROM
    mov eax, fs:[0xfc]
    call emit32
    mov eax, fs:[0xfd]
p1: mov edi, offset p2 + ROM
    mov al, fs:[0x100]
p2: mov edi, offset p3 + ROM
    mov fs:[0xff], al
    mov fs:[0xffffffff], al
p3: mov ax, READONLY
    mov fs, ax
    mov edi, offset p4 + ROM
    mov al, fs:[0]
    mov fs:[0], al
p4: mov ax, EXPANDDOWN
    mov fs, ax
    mov edi, offset p5 + ROM
    mov al, fs:[0x1000]
    mov al, fs:[0xfff]
p5: mov ax, EXECONLY
    mov edi, offset p6 + ROM
    mov fs, ax
p6: mov ax, ABSENT
    mov edi, offset p7 + ROM
    mov fs, ax
p7: mov ax, 0x1f8
    mov edi, offset p8 + ROM
    mov fs, ax
p8: mov ax, READONLY
    mov edi, offset p9 + ROM
    mov ss, ax
p9: mov ax, ABSENT
    mov edi, offset p10 + ROM
    mov ss, ax
p10: xor eax, eax
    mov edi, offset p11 + ROM
    mov ss, ax
p11: xor eax, eax
    mov fs, ax
    mov edi, offset p12 + ROM
    mov al, fs:[0]
p12: mov ax, STACKSEG
    mov ss, ax
    mov edi, offset p13 + ROM
    mov eax, ss:[0x6ffd]
p13: mov ax, DATA32
    mov ss, ax
    mov edi, offset p14 + ROM
    ud2
p14: mov edi, offset p15 + ROM
    int 0x42
p15: mov edi, offset p16 + ROM
    int 0x43
p16: mov edi, offset p17 + ROM
    .byte 0x9a
    .long 0
    .word ABSENT
p17: mov edi, offset p18 + ROM
    .byte 0xea
    .long 0
    .word DATA32
p18:
    # 16-bit protected mode, in a segment with a base
    mov eax, 0xa0000012
    call emit32
    .byte 0xea
    .long protected16
    .word CODE16
back32:
    mov eax, 0xa0000013
    call emit32
    # ring 3
    mov ax, USERDATA
    mov ds, ax
    mov es, ax
    push USERDATA
    push 0x6800
    push 2
    push USER32
    push offset user + ROM
    iretd
from_user:
    mov ax, DATA32
    mov ds, ax
    mov es, ax
    mov ss, ax
    mov esp, 0x7000
    jmp to_long

user:
    # a ring-3 program cannot reach the ports: it reports through int 41h
    mov eax, 0xa0000014
    int 0x41
    mov eax, cs
    int 0x41
    mov eax, esp
    int 0x41
    mov edi, offset u1 + ROM
    cli
u1: mov edi, offset u2 + ROM
    int 0x42
u2: mov edi, offset u3 + ROM
    mov ax, DATA32
    mov fs, ax
u3: mov edi, offset u4 + ROM
    in al, 0xe9
u4: mov edi, offset u5 + ROM
    hlt
u5: # popf leaves IF and IOPL alone
    push 0x3202
    popf
    pushf
    pop eax
    and eax, 0x7700
    int 0x41
    # through a call gate, with two parameters
    push 0x33333333
    push 0x44444444
    .byte 0x9a
    .long 0
    .word GATE
    mov eax, esp
    int 0x41
    mov eax, 0xffffffff
    int 0x41

gate:
    push ebp
    mov ebp, esp
    push eax
    mov ax, DATA32
    mov ds, ax
    mov eax, 0xa0000015
    call emit32
    mov eax, cs
    call emit32
    mov eax, ebp
    call emit32
    mov eax, [ebp + 8]
    call emit32
    mov eax, [ebp + 12]
    call emit32
    mov eax, [ebp + 16]
    call emit32
    mov eax, [ebp + 20]
    call emit32
    mov eax, [ebp + 24]
    call emit32
    pop eax
    pop ebp
    retf 8

    .balign 16
stubs32:
    .set n, 0
    .rept 0x43
    .balign 16
    .if (n == 8) || (n >= 10 && n <= 14) || (n == 17)
    push n
    jmp fault32
    .else
    push 0
    push n
    jmp fault32
    .endif
    .set n, n + 1
    .endr

# [esp]: vector, error, EIP, CS, EFLAGS (ESP, SS)
fault32:
    push ds
    push eax
    mov eax, DATA32
    mov ds, eax
    mov eax, [esp + 8]
    cmp eax, 0x41
    je service
    or eax, 0xb0000000
    call emit32
    mov eax, [esp + 12]
    call emit32
    mov eax, [esp + 16]
    call emit32
    mov eax, [esp + 20]
    call emit32
    mov eax, [esp + 24]
    and eax, 0x7700
    call emit32
    mov eax, esp
    call emit32
    mov [esp + 16], edi
    pop eax
    pop ds
    add esp, 8
    iretd
service:
    mov eax, [esp]
    call emit32
    cmp eax, 0xffffffff
    je from_user
    pop eax
    pop ds
    add esp, 8
    iretd

# --- protected mode, 16 bits ----------------------------------------------------------------------------------------
    .code16
protected16:
    mov eax, 0xa0000020
    call emit16
    mov ax, DATA16
    mov ss, ax
    mov esp, 0xabcd0800
    push 0x5678
    mov eax, esp
    call emit16
    movzx eax, word ptr ss:[0x7fe]
    call emit16
    call 1f
1:  pop ax
    movzx eax, ax
    call emit16
    push eax
    mov eax, esp
    call emit16
    # a 16-bit stack wraps around inside its segment
    mov sp, 0
    push 0x1111
    mov eax, esp
    call emit16
    mov ax, DATA32
    mov ss, ax
    mov esp, 0x7000
    .byte 0x66, 0xea
    .long back32 + ROM
    .word CODE32
