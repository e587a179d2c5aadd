; Self-modifying code: the next instruction, the same page, another page, through a second mapping, by string instructions, in a loop.
%include "common.nasm"

        bits 32
main:
        LINE "smc"
        LONG go
        bits 64
        align 4096
go:
        ; the very next instruction
        xor eax, eax
        mov byte [.next + 1], 0x22
.next:  mov al, 0x11
        SHOW "next instruction", rax
        ; some instructions ahead, in the same block
        xor eax, eax
        mov byte [.ahead + 1], 0x44
        nop
        nop
.ahead: mov al, 0x33
        SHOW "instruction ahead", rax
        ; a loop that changes its own body each time
        xor ecx, ecx
        xor edx, edx
.loop:  add edx, 1
        inc byte [.loop + 2]
        inc ecx
        cmp ecx, 10
        jb .loop
        SHOW "sum of a growing addend", rdx
        ; a function in another page, changed between calls
        mov edi, SCRATCH
        mov dword [rdi], 0x000001b8     ; mov eax, 1
        mov word [rdi + 4], 0xc300      ; and RET
        xor ebx, ebx
        mov ecx, 1000
.calls: mov [rdi + 1], ecx
        call rdi
        add rbx, rax
        dec ecx
        jnz .calls
        SHOW "sum of 1 to 1000", rbx
        ; across two pages: the immediate lies in the second one
        mov rdi, SCRATCH + 0x1ffe
        mov byte [rdi], 0xb8
        mov dword [rdi + 1], 0x12345678
        mov byte [rdi + 5], 0xc3
        call rdi
        SHOW "across pages", rax
        mov byte [SCRATCH + 0x2001], 0x99
        call rdi
        SHOW "second page changed", rax
        mov byte [SCRATCH + 0x1fff], 0x11
        call rdi
        SHOW "first page changed", rax
        ; through another linear address of the same page
        mov rax, SCRATCH | 0x87
        mov [PD0 + 0x800], rax          ; linear 512 MiB
        mov rax, cr3
        mov cr3, rax
        mov edi, SCRATCH + 0x3000
        mov dword [rdi], 0x000005b8
        mov word [rdi + 4], 0xc300
        call rdi
        SHOW "before", rax
        mov byte [0x20003001], 6
        call rdi
        SHOW "changed through an alias", rax
        mov eax, 0x20003000
        mov byte [rdi + 1], 7
        call rax
        SHOW "called through the alias", rax
        ; by REP MOVSB and REP STOSB over the code itself
        mov esi, .source
        mov edi, .target
        mov ecx, .source_end - .source
        rep movsb
.target:
        mov eax, 1
        nop
        nop
        SHOW "after rep movsb", rax
        mov edi, .nops
        mov al, 0x90
        mov ecx, 5
        mov ebx, 1
        rep stosb
.nops:  mov ebx, 2
        SHOW "after rep stosb", rbx
        ; by PUSH
        mov r8, rsp
        mov rsp, .pushed + 8
        mov rax, 0x9090909090909090
        push rax
        mov rsp, r8
        mov ebx, 1
        call .pushed
        SHOW "after push", rbx
        ; by CMPXCHG and XADD with LOCK
        mov eax, 0x11
        mov ecx, 0x12
        lock cmpxchg [.locked + 1], cl
.locked:
        mov bl, 0x11
        movzx ebx, bl
        SHOW "after cmpxchg", rbx
        ; data beside code in one page does not disturb it
        xor ecx, ecx
.mixed: inc dword [.counter]
        inc ecx
        cmp ecx, 100000
        jb .mixed
        mov eax, [.counter]
        SHOW "counter beside code", rax
        ; the remap of a code page
        mov rax, (SCRATCH + 0x200000) | 0x87
        mov dword [SCRATCH + 0x203000], 0x000009b8
        mov word [SCRATCH + 0x203004], 0xc300
        mov edi, 0x20003000
        call rdi
        mov rbx, rax
        mov rax, (SCRATCH + 0x200000) | 0x87
        mov [PD0 + 0x800], rax
        invlpg [rdi]
        call rdi
        SHOW "before the remap", rbx
        SHOW "after the remap", rax
        LINE "end"
        EXIT
.source:
        mov eax, 0x77
        nop
        nop
.source_end:
        align 8
.pushed:
        mov ebx, 2                      ; overwritten by NOPs
        nop
        nop
        nop
        ret
        align 4
.counter: dd 0
