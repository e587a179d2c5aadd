; 32-bit and PAE paging: 4 KiB, 4 MiB and 2 MiB pages, permissions, error codes, accessed and dirty bits.
%include "common.nasm"

DIRECTORY       equ TABLES
TABLE           equ TABLES + 0x1000
PAE_PDPT        equ TABLES + 0x2000
PAE_PD          equ TABLES + 0x3000
PAE_PT          equ TABLES + 0x4000
LINEAR          equ 0x10000000
PHYSICAL        equ SCRATCH

%macro READ 2
        TRY
        mov eax, [LINEAR + (%2) * 0x1000]
        TRIED %1
%endmacro
%macro WRITE 2
        TRY
        mov [LINEAR + (%2) * 0x1000 + 8], eax
        TRIED %1
%endmacro
%macro USER_TRY 0
        %push user
        mov dword [resume_ip], %$after
        mov [resume_sp], esp
        mov dword [exc_vector], -1
        mov dword [try_start], %$begin
        push dword USER_DATA
        push dword USER_STACK_TOP
        push dword 2
        push dword USER_CODE32
        push dword %$begin
        iretd
%$begin:
        mov eax, USER_DATA
        mov ds, eax
%endmacro
%macro USER_TRIED 1
        int3
%$after:
        PRINT %1, ": "
        call report32
        %pop
%endmacro
%macro FLUSH 0
        mov eax, cr3
        mov cr3, eax
%endmacro

        bits 32
main:
        LINE "paging32"
        call load_tss32
        mov edi, TABLES
        mov ecx, 0x6000 / 4
        xor eax, eax
        rep stosd
        ; identity 4 MiB pages for the first 16 MiB
        mov eax, cr4
        or eax, 0x10                    ; PSE
        mov cr4, eax
        mov dword [DIRECTORY], 0x000087
        mov dword [DIRECTORY + 4], 0x400087
        mov dword [DIRECTORY + 8], 0x800087
        mov dword [DIRECTORY + 12], 0xc00087
        mov dword [DIRECTORY + (LINEAR >> 22) * 4], TABLE | 7
        mov eax, DIRECTORY
        mov cr3, eax
        mov eax, cr0
        or eax, 0x80010000
        mov cr0, eax
        LINE "32-bit paging"
        READ "not present", 0
        WRITE "write to not present", 0
        mov dword [TABLE + 4], PHYSICAL | 3
        READ "present", 1
        mov eax, [TABLE + 4]
        and eax, 0xfff
        SHOW "pte after read", eax
        WRITE "write", 1
        mov eax, [TABLE + 4]
        and eax, 0xfff
        SHOW "pte after write", eax
        mov eax, [DIRECTORY + (LINEAR >> 22) * 4]
        and eax, 0xfff
        SHOW "pde", eax
        mov dword [TABLE + 8], PHYSICAL | 1
        WRITE "write to read-only", 2
        USER_TRY
        mov eax, [LINEAR + 0x1000]
        USER_TRIED "user read of supervisor page"
        USER_TRY
        mov [LINEAR + 0x1000], eax
        USER_TRIED "user write of supervisor page"
        USER_TRY
        jmp LINEAR + 0x1000
        USER_TRIED "user fetch of supervisor page"
        USER_TRY
        mov [LINEAR], eax
        USER_TRIED "user write of nothing"
        mov dword [TABLE + 12], PHYSICAL | 5
        USER_TRY
        mov eax, [LINEAR + 0x3000]
        USER_TRIED "user read"
        USER_TRY
        mov [LINEAR + 0x3000], eax
        USER_TRIED "user write of read-only"
        mov dword [PHYSICAL + 0x5678], 0x600df00d
        mov dword [DIRECTORY + (LINEAR >> 22) * 4 + 4], PHYSICAL | 0x83
        mov eax, [LINEAR + 0x405678]
        SHOW "through a 4 MiB page", eax
        mov dword [DIRECTORY + (LINEAR >> 22) * 4 + 4], PHYSICAL | 0x200083
        FLUSH
        TRY
        mov eax, [LINEAR + 0x400000]
        TRIED "4 MiB page with bit 21"
        ; without PSE the bit is ignored and the entry names a table
        mov dword [DIRECTORY + (LINEAR >> 22) * 4 + 8], TABLE | 0x83
        mov dword [PHYSICAL], 0x7ab1e
        FLUSH

        ; PAE
        mov eax, cr0
        and eax, 0x7fffffff
        mov cr0, eax
        mov dword [PAE_PDPT], PAE_PD | 1
        mov dword [PAE_PD], 0x000087
        mov dword [PAE_PD + 8], 0x200087
        mov dword [PAE_PD + 16], 0x400087
        mov dword [PAE_PD + 24], 0x600087
        mov dword [PAE_PD + (LINEAR >> 21) * 8], PAE_PT | 7
        mov dword [PAE_PT + 8], PHYSICAL | 3
        mov dword [PAE_PT + 16], PHYSICAL | 3
        mov dword [PAE_PT + 20], 0x80000000
        mov dword [PAE_PT + 24], PHYSICAL | 3
        mov dword [PAE_PT + 28], 0x00080000
        mov eax, cr4
        or eax, 0x20
        mov cr4, eax
        mov ecx, 0xc0000080
        rdmsr
        or eax, 0x800                   ; NXE
        wrmsr
        mov eax, PAE_PDPT
        mov cr3, eax
        mov eax, cr0
        or eax, 0x80000000
        mov cr0, eax
        LINE "PAE paging"
        READ "not present", 0
        READ "present", 1
        WRITE "write", 1
        mov eax, [PAE_PT + 8]
        and eax, 0xfff
        SHOW "pte", eax
        READ "nx read", 2
        TRY
        mov eax, LINEAR + 0x2000
        call eax
        TRIED "nx fetch"
        READ "reserved bit 51", 3
        TRY
        mov eax, [0x40000000]
        TRIED "pdpte not present"
        TRY
        mov eax, [0xc0000000]
        TRIED "last pdpte not present"
        USER_TRY
        mov eax, [LINEAR + 0x1000]
        USER_TRIED "user read of supervisor page"
        mov dword [PAE_PD + (LINEAR >> 21) * 8 + 8], PHYSICAL | 0x83
        mov eax, [LINEAR + 0x205678]
        SHOW "through a 2 MiB page", eax
        ; a processor without NXE finds bit 63 reserved
        mov ecx, 0xc0000080
        rdmsr
        and eax, ~0x800
        wrmsr
        FLUSH
        READ "bit 63 without NXE", 2
        LINE "end"
        EXIT
