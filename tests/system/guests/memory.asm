; Unaligned and page-crossing accesses, string instructions across page faults, alignment checks, restartable instructions.
%include "common.nasm"

; Two pages at 512 GiB, the third one absent; physical pages that are no neighbours.
PDPT1           equ TABLES + 0x4000
PD1             equ TABLES + 0x5000
PT1             equ TABLES + 0x6000
LINEAR          equ 0x8000000000
FIRST           equ SCRATCH + 0x5000
SECOND          equ SCRATCH + 0x2000
THIRD           equ SCRATCH + 0x9000

        bits 32
main:
        LINE "memory"
        LONG go
        bits 64
go:
        mov edi, PDPT1
        mov ecx, 0x3000 / 8
        xor eax, eax
        rep stosq
        mov qword [PML4 + 8], PDPT1 | 7
        mov qword [PDPT1], PD1 | 7
        mov qword [PD1], PT1 | 7
        mov qword [PT1], FIRST | 7
        mov qword [PT1 + 8], SECOND | 7
        mov rbx, LINEAR + 0x1000

        ; every size at every offset round the boundary, summed
        xor r8d, r8d
        mov rcx, -9
.sizes: mov rax, 0x1122334455667788
        add rax, rcx
        mov [rbx + rcx], rax
        add r8, [rbx + rcx]
        mov [rbx + rcx], eax
        mov edx, [rbx + rcx]
        add r8, rdx
        mov [rbx + rcx], ax
        movzx edx, word [rbx + rcx]
        add r8, rdx
        inc rcx
        cmp rcx, 2
        jl .sizes
        SHOW "sum", r8
        SHOW "first page ends in", [FIRST + 0xff8]
        SHOW "second page starts with", [SECOND]
        movups xmm0, [rbx - 7]
        movups [rbx - 5], xmm0
        SHOW "moved across by movups", [rbx - 3]
        lock add qword [rbx - 3], 0x10
        SHOW "locked add across", [rbx - 3]
        mov eax, 5
        lock xadd [rbx - 2], eax
        SHOW "locked xadd across", rax
        bts qword [rbx - 1], 63
        SHOW "bts across", [rbx - 1]
        fld1
        fstp qword [rbx - 4]
        SHOW "fstp across", [rbx - 4]
        push rsp
        pop rax
        sub rax, rsp
        SHOW "push rsp", rax
        mov r9, rsp
        lea rsp, [rbx + 3]
        mov rax, 0x0123456789abcdef
        push rax
        pop rcx
        mov rsp, r9
        SHOW "pushed across", rcx

        ; REP MOVSB into the absent page: stops there with the registers advanced
        mov esi, SCRATCH + 0x10000
        mov rdi, LINEAR + 0x1ff0
        mov ecx, 0x40
        cld
        TRY
        rep movsb
        TRIED "rep movsb into nothing"
        SHOW "rcx", rcx
        sub rsi, SCRATCH + 0x10000
        SHOW "rsi moved", rsi
        sub rdi, rbx
        SHOW "rdi", rdi
        ; again with a handler that maps the page: goes on where it stopped
        mov dword [hooks + 14 * 4], on_fault
        mov rsi, SCRATCH + 0x10000
        mov ecx, 256
        mov edi, SCRATCH + 0x10000
.fill:  mov [rdi], cl
        inc edi
        loop .fill
        mov rdi, LINEAR + 0x1ff8
        mov ecx, 0x40
        rep movsb
        SHOW "faults", [fault_count]
        SHOW "rcx", rcx
        sub rdi, rbx
        SHOW "rdi", rdi
        SHOW "last bytes", [THIRD + 0x30]
        ; REP STOSQ backwards into an absent page
        mov dword [hooks + 14 * 4], 0
        mov qword [PT1], 0
        mov rax, cr3
        mov cr3, rax
        mov rdi, LINEAR + 0x1010
        mov ecx, 8
        std
        TRY
        rep stosq
        TRIED "rep stosq backwards into nothing"
        cld
        SHOW "rcx", rcx
        sub rdi, rbx
        SHOW "rdi", rdi
        mov qword [PT1], FIRST | 7
        ; REPE CMPSB that reaches the absent page only if it must
        mov qword [PT1 + 16], 0
        mov rax, cr3
        mov cr3, rax
        mov rsi, LINEAR + 0x1ff0
        mov rdi, LINEAR + 0x1ff0
        mov ecx, 0x10
        TRY
        repe cmpsb
        TRIED "repe cmpsb up to the end"
        SHOW "rcx", rcx
        mov rsi, LINEAR + 0x1ff0
        mov rdi, LINEAR + 0x1ff0
        mov ecx, 0x20
        TRY
        repe cmpsb
        TRIED "repe cmpsb past the end"
        SHOW "rcx", rcx
        ; count 0 touches nothing
        xor ecx, ecx
        mov rdi, LINEAR + 0x2000
        TRY
        rep stosb
        TRIED "rep stosb of nothing"
        ; XCHG, PUSH [m] and POP [m] that fault change nothing
        mov ecx, 0x1234
        TRY
        xchg [rbx + 0xffe], ecx
        TRIED "xchg"
        SHOW "ecx", rcx
        mov r9, rsp
        TRY
        push qword [rbx + 0x1000]
        TRIED "push from nothing"
        sub r9, rsp
        SHOW "rsp moved", r9
        mov r9, rsp
        push 1
        TRY
        pop qword [rbx + 0x1000]
        TRIED "pop into nothing"
        mov rax, [exc_sp]
        sub rax, r9
        SHOW "rsp moved", rax
        mov rsp, r9
        TRY
        lea rsp, [rbx + 0x1000]
        ret
        TRIED "ret from nothing"
        TRY
        enter 0x100, 0
        mov eax, 1
        leave
        TRIED "enter and leave"
        ; CMPXCHG16B must be aligned
        TRY
        lock cmpxchg16b [rbx - 8]
        TRIED "cmpxchg16b not aligned"
        TRY
        movaps xmm0, [rbx - 8]
        TRIED "movaps not aligned"
        ; alignment checks in ring 3
        mov rax, cr0
        bts rax, 18
        mov cr0, rax
        mov qword [resume_ip], .after_ac
        mov [resume_sp], rsp
        mov qword [exc_vector], -1
        mov qword [try_start], .ac
        push qword USER_DATA
        push qword USER_STACK_TOP
        push qword 0x40002
        push qword USER_CODE64
        push qword .ac
        iretq
.ac:    mov eax, [rbx]
        mov ax, [rbx + 2]
        mov al, [rbx + 1]
        mov eax, [rbx + 2]
        int3
.after_ac:
        PRINT "unaligned access with AC: "
        call report64
        TRY
        mov eax, [rbx + 2]
        TRIED "unaligned access in ring 0"
        ; 67: 32-bit addresses wrap
        mov eax, 0xfffffff0
        mov ecx, SCRATCH + 0x20
        mov dword [SCRATCH + 0x10], 0x3232
        mov edx, [eax + ecx]
        SHOW "32-bit address wraps", rdx
        mov rbx, LINEAR + 0x2000
        TRY
        clflush [rbx]
        TRIED "clflush of nothing"
        LINE "end"
        EXIT
on_fault:
        inc dword [fault_count]
        mov qword [PT1 + 16], THIRD | 7
        ret
        align 8
fault_count:    dq 0
