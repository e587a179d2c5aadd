; Double faults: which pairs of exceptions make one (SDM volume 3, table 6-5), on a stack of their own.
%include "common.nasm"

        bits 32
main:
        LINE "doublefault"
        LONG go
        bits 64
%macro GATE_ABSENT 1
        and byte [idt64 + (%1) * 16 + 5], 0x7f
%endmacro
%macro GATE_PRESENT 1
        or byte [idt64 + (%1) * 16 + 5], 0x80
%endmacro
%macro GATE_NULL 1
        mov word [idt64 + (%1) * 16 + 2], 0
%endmacro
%macro GATE_GOOD 1
        mov word [idt64 + (%1) * 16 + 2], CODE64
%endmacro
go:
        mov byte [idt64 + 8 * 16 + 4], 1
        mov r15, rsp
        GATE_ABSENT 13
        TRY
        mov eax, 0x7f8
        mov ds, eax
        TRIED "#GP, then #NP for its gate"
        GATE_PRESENT 13
        GATE_ABSENT 14
        TRY
        mov rax, [0x70000000]
        TRIED "#PF, then #NP for its gate"
        GATE_PRESENT 14
        GATE_ABSENT 6
        TRY
        ud2
        TRIED "#UD, then #NP for its gate"
        GATE_PRESENT 6
        GATE_ABSENT 3
        TRY
        int3
        TRIED "int3 through an absent gate"
        GATE_PRESENT 3
        GATE_NULL 0
        TRY
        xor ecx, ecx
        div ecx
        TRIED "#DE, then #GP for its gate"
        GATE_GOOD 0
        GATE_NULL 6
        TRY
        ud2
        TRIED "#UD, then #GP for its gate"
        GATE_GOOD 6
        ; a stack that cannot be pushed to
        TRY
        mov rsp, 0x70000000
        ud2
        TRIED "#UD, then #PF for its frame"
        TRY
        mov rsp, 0x70000000
        mov rax, [0x60000000]
        TRIED "#PF, then #PF for its frame"
        TRY
        mov rsp, 0x0000800000000000
        mov rax, [0x60000000]
        TRIED "#PF, then #SS for its frame"
        TRY
        mov rsp, 0x70000000
        push rax
        TRIED "push to nothing"
        TRY
        mov rsp, 0x0000800000000000
        push rax
        TRIED "push to a non-canonical address"
        SHOW "stack kept", [exc_sp]
        LINE "end"
        EXIT
