# Real mode: interrupts, segment limits, wrapping, and the way into protected mode. Part of modes.s.

    .code16
    .org 0
start:
    cli
    cld
    xor ax, ax
    mov ds, ax
    mov es, ax
    mov ax, 0x5000
    mov ss, ax
    mov esp, 0x1000

# --- real mode -----------------------------------------------------------------------------------------------------
    mov word ptr [0x40 * 4], offset real_int
    mov word ptr [0x40 * 4 + 2], 0xf000
    mov word ptr [13 * 4], offset real_gp
    mov word ptr [13 * 4 + 2], 0xf000
    mov word ptr [12 * 4], offset real_ss
    mov word ptr [12 * 4 + 2], 0xf000
    mov word ptr [0], offset real_de
    mov word ptr [2], 0xf000
    mov word ptr [4 * 4], offset real_of
    mov word ptr [4 * 4 + 2], 0xf000
    mov word ptr [6 * 4], offset real_ud
    mov word ptr [6 * 4 + 2], 0xf000

    mov eax, 0xa0000001
    call emit16
    std
    int 0x40
    cld
    # offset FFFFh of a word lies outside the segment
    mov di, offset r1
    mov ax, ds:[0xffff]
r1: mov di, offset r2
    mov bp, 0xffff
    mov ax, [bp]
r2: mov di, offset r3
    mov ebx, 0x10000
    mov al, [ebx]
r3: mov di, offset r4
    xor cx, cx
    div cx
r4: mov di, offset r5
    mov al, 0x7f
    add al, 1
    into
r5: mov di, offset r6
    ud2
r6: # the stack pointer wraps around
    mov eax, 0xa0000002
    call emit16
    mov bp, sp
    xor sp, sp
    push 0x1234
    movzx eax, sp
    mov sp, bp
    call emit16
    movzx eax, word ptr ss:[0xfffe]
    call emit16
    # real-mode segment arithmetic: FFFFh:10h is 1 MiB
    mov dword ptr ds:[0x600], 0x11111111
    mov ax, 0xffff
    mov es, ax
    mov dword ptr es:[0x10], 0x22222222
    mov eax, ds:[0]
    xor eax, eax
    mov es, ax
    mov eax, ds:[0x600]
    call emit16
    # an interrupt table that ends in front of vector 40h
    lidt cs:[short_idt]
    mov di, offset r7
    int 0x40
r7: lidt cs:[real_idt]
    int 0x40
    smsw ax
    and eax, 1
    call emit16

# --- into protected mode --------------------------------------------------------------------------------------------
    mov si, offset gdt
    mov di, GDT
    mov cx, (gdt_end - gdt) / 2
    .byte 0x2e, 0xf3, 0xa5 # rep movsw from CS
    lgdt cs:[gdt_pointer]
    lidt cs:[idt32_pointer]
    mov eax, cr0
    or al, 1
    mov cr0, eax
    .byte 0x66, 0xea
    .long protected + ROM
    .word CODE32

emit16:
    push cx
    mov cx, 4
1:  out 0xe9, al
    ror eax, 8
    loop 1b
    pop cx
    ret

# (vector in the tag) IP, CS and flags of the frame, then on at DI for faults
real_int:
    push eax
    push bp
    mov bp, sp
    mov eax, 0xb0000040
    call emit16
    movzx eax, word ptr [bp + 6]
    call emit16
    movzx eax, word ptr [bp + 8]
    call emit16
    movzx eax, word ptr [bp + 10]
    and ax, 0x7700
    call emit16
    pushf
    pop ax
    and eax, 0x7700
    call emit16
    pop bp
    pop eax
    iret
real_de:
    mov eax, 0xb0000000
    jmp real_fault
real_of:
    mov eax, 0xb0000004
    jmp real_fault
real_ud:
    mov eax, 0xb0000006
    jmp real_fault
real_ss:
    mov eax, 0xb000000c
    jmp real_fault
real_gp:
    mov eax, 0xb000000d
real_fault:
    mov bp, sp
    call emit16
    movzx eax, word ptr [bp]
    call emit16
    movzx eax, word ptr [bp + 2]
    call emit16
    movzx eax, sp
    call emit16
    mov [bp], di
    iret
