; 4-level paging: page sizes, permissions, NX, WP, SMEP, SMAP, reserved bits, accessed and dirty bits, INVLPG, canonical addresses.
%include "common.nasm"

; 4 KiB pages at linear 512 GiB (PML4 entry 1): tables after those of common.nasm
PDPT1           equ TABLES + 0x4000
PD1             equ TABLES + 0x5000
PT1             equ TABLES + 0x6000
PT2             equ TABLES + 0x7000
LINEAR          equ 0x8000000000
PHYSICAL        equ SCRATCH

        bits 32
main:
        LINE "paging"
        LONG go

        bits 64
; PTE index, value
%macro PTE 2
        mov rax, %2
        mov [PT1 + (%1) * 8], rax
        mov rax, LINEAR + (%1) * 0x1000
        invlpg [rax]
%endmacro
; ACCESS "name", page: a read, a write, a fetch from ring 0
%macro READ 2
        TRY
        mov rax, LINEAR + (%2) * 0x1000
        mov rcx, [rax]
        TRIED %1
%endmacro
%macro WRITE 2
        TRY
        mov rax, LINEAR + (%2) * 0x1000
        mov [rax + 8], rax
        TRIED %1
%endmacro
%macro FETCH 2
        TRY
        mov rax, LINEAR + (%2) * 0x1000
        call rax
        TRIED %1
%endmacro
; the same from ring 3; the code ends by INT3: vector 3
%macro USER_TRY 1
        %push user
        mov qword [resume_ip], %$after
        mov [resume_sp], rsp
        mov qword [exc_vector], -1
        mov qword [try_start], %$begin
        push qword USER_DATA
        push qword USER_STACK_TOP
        push qword 2
        push qword USER_CODE64
        push qword %$begin
        mov rax, LINEAR + (%1) * 0x1000
        iretq
%$begin:
%endmacro
%macro USER_TRIED 1
        int3
%$after:
        PRINT %1, ": "
        call report64
        %pop
%endmacro
%macro SHOW_PTE 2
        mov rax, [PT1 + (%2) * 8]
        and eax, 0xfff
        SHOW %1, rax
%endmacro

go:
        mov edi, PDPT1
        mov ecx, 0x4000 / 8
        xor eax, eax
        rep stosq
        mov qword [PML4 + 8], PDPT1 | 7
        mov qword [PDPT1], PD1 | 7
        mov qword [PD1], PT1 | 7
        mov byte [PHYSICAL], 0xc3       ; RET
        mov byte [PHYSICAL + 0x1000], 0xc3

        READ "not present", 0
        WRITE "write to not present", 0
        FETCH "fetch from not present", 0
        PTE 1, PHYSICAL | 3
        READ "present", 1
        SHOW_PTE "pte after read", 1
        WRITE "present write", 1
        SHOW_PTE "pte after write", 1
        FETCH "present fetch", 1
        PTE 2, PHYSICAL | 1
        READ "read-only", 2
        WRITE "read-only write", 2
        SHOW_PTE "pte after refused write", 2
        mov rax, cr0
        btr rax, 16
        mov cr0, rax
        WRITE "read-only write without WP", 2
        SHOW_PTE "pte after write without WP", 2
        mov rax, cr0
        bts rax, 16
        mov cr0, rax
        PTE 3, PHYSICAL | 3 | (1 << 63)
        READ "nx read", 3
        FETCH "nx fetch", 3
        PTE 4, PHYSICAL | 3 | (1 << 51)
        READ "reserved bit 51", 4
        WRITE "reserved bit 51 write", 4
        USER_TRY 4
        mov rcx, [rax]
        USER_TRIED "reserved bit 51 user"

        ; user and supervisor
        USER_TRY 1
        mov rcx, [rax]
        USER_TRIED "user read of supervisor page"
        USER_TRY 1
        mov [rax], rcx
        USER_TRIED "user write of supervisor page"
        USER_TRY 1
        call rax
        USER_TRIED "user fetch of supervisor page"
        USER_TRY 0
        mov rcx, [rax]
        USER_TRIED "user read of nothing"
        USER_TRY 0
        mov [rax], rcx
        USER_TRIED "user write of nothing"
        USER_TRY 0
        call rax
        USER_TRIED "user fetch of nothing"
        PTE 5, PHYSICAL | 5
        USER_TRY 5
        mov rcx, [rax]
        USER_TRIED "user read"
        USER_TRY 5
        mov [rax], rcx
        USER_TRIED "user write of read-only"
        PTE 6, PHYSICAL | 7 | (1 << 63)
        USER_TRY 6
        call rax
        USER_TRIED "user fetch of nx"
        mov qword [PD1], PT1 | 3        ; the directory takes the right away
        mov rax, cr3
        mov cr3, rax
        USER_TRY 5
        mov rcx, [rax]
        USER_TRIED "user read under a supervisor directory"
        mov qword [PD1], PT1 | 5
        mov rax, cr3
        mov cr3, rax
        PTE 1, PHYSICAL | 3
        WRITE "write under a read-only directory", 1
        mov rax, PT1 | 7 | (1 << 63)
        mov [PD1], rax
        mov rax, cr3
        mov cr3, rax
        FETCH "fetch under an nx directory", 1
        mov qword [PD1], PT1 | 7
        mov rax, cr3
        mov cr3, rax

        ; SMEP and SMAP; our own code and stack lie in user pages: make those supervisor ones
        mov edi, PD0
        mov ecx, 512
.supervisor:
        and byte [rdi], ~4
        add edi, 8
        loop .supervisor
        and byte [PDPT], ~4
        mov rax, cr3
        mov cr3, rax
        PTE 7, PHYSICAL | 7
        FETCH "fetch of a user page", 7
        mov rax, cr4
        bts rax, 20
        mov cr4, rax
        FETCH "fetch of a user page with SMEP", 7
        READ "read of a user page with SMEP", 7
        mov rax, cr4
        btr rax, 20
        bts rax, 21
        mov cr4, rax
        READ "read of a user page with SMAP", 7
        WRITE "write of a user page with SMAP", 7
        FETCH "fetch of a user page with SMAP", 7
        TRY
        stac
        mov rax, LINEAR + 7 * 0x1000
        mov rcx, [rax]
        mov [rax], rcx
        clac
        TRIED "user page with SMAP and AC"
        mov rax, cr4
        btr rax, 21
        mov cr4, rax
        mov edi, PD0
        mov ecx, 512
.user:  or byte [rdi], 4
        add edi, 8
        loop .user
        or byte [PDPT], 4
        mov rax, cr3
        mov cr3, rax

        ; Page sizes
        mov rax, PHYSICAL | 0x83
        mov [PD1 + 8], rax              ; 2 MiB at LINEAR + 2 MiB
        mov rbx, LINEAR + 0x200000
        mov rax, 0x1122334455667788
        mov [PHYSICAL + 0x12345], rax
        SHOW "through a 2 MiB page", [rbx + 0x12345]
        mov eax, [PD1 + 8]
        and eax, 0xfff
        SHOW "pde after read", rax
        mov rax, PHYSICAL | 0x2083      ; reserved bit 13
        mov [PD1 + 8], rax
        invlpg [rbx]
        TRY
        mov rax, [rbx]
        TRIED "2 MiB page with bit 13"
        mov qword [PDPT1 + 8], 0x83     ; 1 GiB at LINEAR + 1 GiB
        mov rbx, LINEAR + 0x40000000
        SHOW "through a 1 GiB page", [rbx + PHYSICAL + 0x12345]
        mov rax, 0x83 | (1 << 13)
        mov [PDPT1 + 8], rax
        invlpg [rbx]
        TRY
        mov rax, [rbx]
        TRIED "1 GiB page with bit 13"
        mov qword [PDPT1 + 16], 0
        TRY
        mov rbx, LINEAR + 0x80000000
        mov rax, [rbx]
        TRIED "pdpte not present"
        TRY
        mov rbx, 0x10000000000
        mov rax, [rbx]
        TRIED "pml4e not present"
        mov qword [PML4 + 24], PDPT1 | 0x87
        TRY
        mov rbx, 0x18000000000
        mov rax, [rbx]
        TRIED "pml4e with bit 7"
        mov qword [PML4 + 24], 0

        ; Stale translations are gone after INVLPG, and with CR3.
        PTE 8, PHYSICAL | 3
        mov rbx, LINEAR + 8 * 0x1000
        mov dword [PHYSICAL + 16], 0xaaaa
        mov dword [PHYSICAL + 0x1010], 0xbbbb
        mov eax, [rbx + 16]
        SHOW "before", rax
        mov qword [PT1 + 64], PHYSICAL + 0x1000 + 3
        invlpg [rbx]
        mov eax, [rbx + 16]
        SHOW "after invlpg", rax
        mov qword [PT1 + 64], PHYSICAL | 3
        mov rax, cr3
        mov cr3, rax
        mov eax, [rbx + 16]
        SHOW "after cr3", rax
        mov qword [PT1 + 64], (PHYSICAL + 0x1000) | 0x103
        mov rax, cr3
        mov cr3, rax
        mov eax, [rbx + 16]
        SHOW "global page", rax
        mov qword [PT1 + 64], PHYSICAL | 3
        mov rax, cr4
        btr rax, 7
        mov cr4, rax
        mov eax, [rbx + 16]
        SHOW "global page after CR4.PGE", rax
        mov rax, cr4
        bts rax, 7
        mov cr4, rax
        ; A permission that is taken away by INVLPG
        mov [rbx], rax
        PTE 8, PHYSICAL | 1
        WRITE "write after it became read-only", 8
        PTE 8, 0
        READ "read after it went", 8
        ; one that is added needs no INVLPG
        mov rax, PHYSICAL | 3
        mov [PT1 + 64], rax
        READ "read after it came", 8

        ; Accesses across pages: the second one faults, nothing is written
        PTE 9, PHYSICAL | 3
        PTE 10, 0
        mov rbx, LINEAR + 10 * 0x1000
        mov rax, 0x0101010101010101
        mov [PHYSICAL + 0xff8], rax
        TRY
        mov rcx, -1
        mov [rbx - 4], rcx
        TRIED "write across into nothing"
        SHOW "first page kept", [PHYSICAL + 0xff8]
        TRY
        mov rcx, [rbx - 1]
        TRIED "read across into nothing"
        PTE 10, (PHYSICAL + 0x1000) | 1
        TRY
        mov [rbx - 4], rcx
        TRIED "write across into read-only"
        SHOW "first page kept again", [PHYSICAL + 0xff8]
        TRY
        add qword [rbx - 4], 1
        TRIED "add across into read-only"
        PTE 10, (PHYSICAL + 0x1000) | 3
        mov rcx, 0x8877665544332211
        mov [rbx - 3], rcx
        SHOW "across", [rbx - 3]
        mov eax, [PHYSICAL + 0x1000]
        SHOW "in the second page", rax

        ; Canonical addresses
        TRY
        mov rax, 0x0000800000000000
        mov rcx, [rax]
        TRIED "non-canonical read"
        TRY
        mov rax, 0xffff7fffffffffff
        mov [rax], cl
        TRIED "non-canonical write"
        mov rbp, 0x0000800000000000
        TRY
        mov rcx, [rbp]
        TRIED "non-canonical by rbp"
        TRY
        mov rax, 0x0000800000000000
        invlpg [rax]
        TRIED "invlpg of a non-canonical address"

        ; writes to a page table are seen by the walk
        PTE 11, PHYSICAL | 3
        mov rbx, LINEAR + 11 * 0x1000
        mov eax, [rbx + 16]
        SHOW "end value", rax
        LINE "end"
        EXIT
