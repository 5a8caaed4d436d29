# Long and compatibility mode, and the way back to real mode. Part of modes.s.

# --- long mode -----------------------------------------------------------------------------------------------------
    .code32
to_long:
    mov eax, 0xa0000030
    call emit32
    mov dword ptr [PML4], PDPT + 7
    mov dword ptr [PDPT], PD + 7
    mov dword ptr [PD], 0x87
    mov eax, cr4
    or eax, 0x20
    mov cr4, eax
    mov eax, PML4
    mov cr3, eax
    mov ecx, 0xc0000080
    rdmsr
    or eax, 0x100
    wrmsr
    mov eax, cr0
    or eax, 0x80000000
    mov cr0, eax
    # compatibility mode now
    rdmsr
    call emit32
    mov eax, 0x12345678
    .byte 0x40, 0x90 # inc eax; nop: not REX here
    call emit32
    .byte 0xea
    .long long_mode + ROM
    .word CODE64

    .code64
emit64:
    push rcx
    mov ecx, 4
1:  out 0xe9, al
    ror eax, 8
    loop 1b
    pop rcx
    ret

long_mode:
    mov ax, DATA32
    mov ss, ax
    mov esp, 0x7000
    mov edi, IDT64
    mov ebx, offset stubs64 + ROM
    mov ecx, 32
1:  mov [rdi], bx
    mov word ptr [rdi + 2], CODE64
    mov word ptr [rdi + 4], 0x8e00
    mov eax, ebx
    shr eax, 16
    mov [rdi + 6], ax
    mov qword ptr [rdi + 8], 0
    add edi, 16
    add ebx, 16
    loop 1b
    lidt [rip + idt64_pointer]
    mov r15, 0x123456789abcdef0
    mov eax, 0xa0000040
    call emit64
    mov rax, r15
    shr rax, 32
    call emit64
    mov eax, cs
    call emit64
    # null data segments do no harm, limits neither
    xor eax, eax
    mov ds, eax
    mov es, eax
    mov eax, [DATA + 0xfc]
    call emit64
    mov edi, offset l1 + ROM
    mov rbx, 0x800000000000
    mov al, [rbx]
l1: mov edi, offset l2 + ROM
    mov rbp, rbx
    mov al, [rbp]
l2: mov edi, offset l3 + ROM
    mov ebx, 0x40000000
    mov al, [rbx]
l3: mov edi, offset l4 + ROM
    mov [rbx + 8], al
l4: mov edi, offset l5 + ROM
    jmp rbx
l5: mov edi, offset l6 + ROM
    .byte 0x27 # daa
l6: # a push of 16 bits, then the frame is aligned
    mov edi, offset l7 + ROM
    push ax
    ud2
l7: mov esp, 0x7000
    # ring 3 and back by SYSCALL
    mov ecx, 0xc0000081
    xor eax, eax
    mov edx, CODE64 | ((USERDATA - 8) << 16)
    wrmsr
    mov ecx, 0xc0000082
    mov eax, offset entry64 + ROM
    xor edx, edx
    wrmsr
    mov ecx, 0xc0000084
    mov eax, 0x400
    wrmsr
    mov ecx, 0xc0000080
    rdmsr
    or eax, 1
    wrmsr
    push USERDATA
    push 0x6800
    push 0x402
    push USER64
    push offset user64 + ROM
    iretq
user64:
    mov ebx, cs
    syscall
entry64:
    mov esp, 0x7000
    mov eax, ebx
    call emit64
    mov eax, cs
    call emit64
    mov eax, ss
    call emit64
    mov eax, ecx
    call emit64
    mov eax, r11d
    and eax, 0x7700
    call emit64
    pushfq
    pop rax
    and eax, 0x7700
    call emit64
    mov ax, DATA32
    mov ss, ax
    # compatibility mode and back
    push CODE32
    push offset compatible + ROM
    retfq

    .balign 16
stubs64:
    .set n, 0
    .rept 32
    .balign 16
    .if (n == 8) || (n >= 10 && n <= 14) || (n == 17)
    push n
    jmp fault64
    .else
    push 0
    push n
    jmp fault64
    .endif
    .set n, n + 1
    .endr

fault64:
    push rax
    mov rax, [rsp + 8]
    or eax, 0xb0000000
    call emit64
    mov rax, [rsp + 16]
    call emit64
    mov rax, [rsp + 24]
    call emit64
    mov rax, [rsp + 48]
    call emit64
    mov rax, cr2
    call emit64
    mov rax, rsp
    call emit64
    mov [rsp + 24], rdi
    pop rax
    add rsp, 16
    iretq

    .code32
compatible:
    mov ax, DATA32
    mov ds, ax
    mov es, ax
    mov eax, 0xa0000050
    call emit32
    mov edi, offset c1 + ROM
    mov ax, SMALL
    mov fs, ax
    mov al, fs:[0x100]
c1: # the handler is 64-bit code, and returned here
    mov eax, 0xa0000051
    call emit32
    mov eax, cs
    call emit32
    # leave long mode
    mov eax, cr0
    and eax, 0x7fffffff
    mov cr0, eax
    mov ecx, 0xc0000080
    rdmsr
    call emit32
    xor eax, eax
    wrmsr
    mov eax, cr4
    and eax, ~0x20
    mov cr4, eax
    # a flat segment in GS, which real mode keeps
    mov ax, DATA32
    mov gs, ax
    mov dword ptr [0x123456], 0x55aa55aa
    .byte 0xea
    .long leave16
    .word CODE16

    .code16
leave16:
    mov ax, DATA16
    mov ds, ax
    mov es, ax
    mov fs, ax
    mov ss, ax
    mov eax, cr0
    and al, 0xfe
    mov cr0, eax
    .byte 0xea
    .word real_again, 0xf000
real_again:
    xor ax, ax
    mov ds, ax
    mov es, ax
    mov fs, ax
    mov ax, 0x5000
    mov ss, ax
    mov esp, 0x1000
    lidt cs:[real_idt]
    mov eax, 0xa0000060
    call emit16
    mov ebx, 0x123456
    mov eax, gs:[ebx]
    call emit16
    mov di, offset a1
    mov eax, fs:[ebx]
a1: int 0x40
    mov eax, 0xa00000ff
    call emit16
    mov ax, 0x10
    out 0xf4, ax
    hlt
