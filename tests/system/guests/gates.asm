; Privilege changes: ring 3 and back, interrupt and call gates with stack switches, far returns, IRET forms, I/O permission.
%include "common.nasm"

        bits 32
main:
        LINE "gates"
        call load_tss32
        ; 0x80: interrupt gate of DPL 3; 0x81: trap gate of DPL 3; 0x82: interrupt gate of DPL 0
        or byte [idt32 + 0x80 * 8 + 5], 0x60
        or byte [idt32 + 0x81 * 8 + 5], 0x61
        mov dword [hooks + 0x80 * 4], on_80
        mov dword [hooks + 0x81 * 4], on_81

        ; Call gate of DPL 3 with two parameters: FREE_SEL; without: FREE_SEL + 8; of DPL 0: + 16; to ring 3 code: + 24; absent: + 32
%macro GATE 4                           ; slot, selector, access, parameters
        mov eax, gate_target
        mov word [gdt + FREE_SEL + (%1) * 8], ax
        shr eax, 16
        mov [gdt + FREE_SEL + (%1) * 8 + 6], ax
        mov word [gdt + FREE_SEL + (%1) * 8 + 2], %2
        mov byte [gdt + FREE_SEL + (%1) * 8 + 4], %4
        mov byte [gdt + FREE_SEL + (%1) * 8 + 5], %3
%endmacro
        GATE 0, CODE32, 0xec, 2
        GATE 1, CODE32, 0xec, 0
        GATE 2, CODE32, 0x8c, 0
        GATE 3, USER_CODE32, 0xec, 0
        GATE 4, CODE32, 0x6c, 0
        GATE 5, DATA32, 0xec, 0
        GATE 6, 0, 0xec, 0

        ; Same privilege first.
        TRY
        call FREE_SEL + 8:0
        TRIED "call gate from ring 0"
        SHOW "gate saw cs", [gate_cs]
        SHOW "gate stack moved by", [gate_depth]

%macro USER 1                           ; runs label in ring 3 with IOPL 0
        push dword USER_DATA
        push dword USER_STACK_TOP
        push dword 2
        push dword USER_CODE32
        push dword %1
        iretd
%endmacro
        mov [kernel_esp], esp
        USER in_user
in_user:
        mov eax, USER_DATA
        mov ds, eax
        mov es, eax
        mov eax, cs
        mov [user_cs], eax
        mov ecx, 0x11
        int 0x80
        mov [after_int], ecx
        stc
        int 0x81
        push dword 0x2222
        push dword 0x1111
        call FREE_SEL:0                 ; two parameters, removed by RETF 8
        mov [after_gate_esp], esp
        ; Each fault goes to the handler, which comes back here in ring 0; the next one goes out again.
        jmp FREE_SEL + 8:0              ; JMP cannot raise privilege
unreachable:
        hlt

gate_target:
        mov eax, cs
        mov [gate_cs], eax
        mov eax, [esp + 4]
        mov [gate_caller_cs], eax
        mov eax, [esp + 8]
        mov [gate_first], eax
        mov eax, [esp + 12]
        mov [gate_second], eax
        mov eax, [esp + 16]
        mov [gate_caller_esp], eax
        mov eax, esp
        sub eax, STACK_TOP
        neg eax
        mov [gate_depth], eax
        cmp dword [gate_caller_cs], USER_CODE32
        jne .plain
        mov dword [resume_ip], after_jmp
        mov dword [resume_sp], STACK_TOP - 64
        mov dword [exc_vector], -1
        mov dword [try_start], 0
        retf 8
.plain: retf

on_80:
        mov eax, [ebp + 8]
        mov [int_cs], eax
        mov eax, [ebp + 20]
        mov [int_ss], eax
        mov eax, [ebp + 16]
        mov [int_esp], eax
        pushfd
        pop eax
        and eax, 0x200
        mov [int_if], eax
        ret
on_81:
        mov eax, [ebp + 12]
        and eax, 1
        mov [trap_cf], eax
        ret

after_jmp:
        PRINT "jmp through a call gate to ring 0: "
        call report32
        SHOW "user cs", [user_cs]
        SHOW "int gate saw cs", [int_cs]
        SHOW "int gate saw ss", [int_ss]
        SHOW "int gate saw esp", [int_esp]
        SHOW "int gate IF", [int_if]
        SHOW "ecx kept", [after_int]
        SHOW "trap gate saw CF", [trap_cf]
        SHOW "gate cs", [gate_cs]
        SHOW "gate caller cs", [gate_caller_cs]
        SHOW "gate parameter 1", [gate_first]
        SHOW "gate parameter 2", [gate_second]
        SHOW "gate caller esp", [gate_caller_esp]
        SHOW "esp after retf 8", [after_gate_esp]

; Faults from ring 3, one each: USER_TRY "name" ... USER_TRIED
%macro USER_TRY 0
        %push user
        mov dword [resume_ip], %$after
        mov [resume_sp], esp
        mov dword [exc_vector], -1
        mov dword [try_start], %$begin
        USER %$begin
%$begin:
%endmacro
%macro USER_TRIED 1
        int3                            ; vector 3: came through
%$after:
        PRINT %1, ": "
        call report32
        %pop
%endmacro
        USER_TRY
        USER_TRIED "nothing"
        USER_TRY
        cli
        USER_TRIED "cli"
        USER_TRY
        hlt
        USER_TRIED "hlt"
        USER_TRY
        mov eax, cr0
        USER_TRIED "mov from cr0"
        USER_TRY
        lgdt [SCRATCH]
        USER_TRIED "lgdt"
        USER_TRY
        mov ax, 0
        lldt ax
        USER_TRIED "lldt"
        USER_TRY
        mov ax, DATA32
        mov ds, ax
        USER_TRIED "ds of ring 0"
        USER_TRY
        mov ax, DATA32 | 3
        mov ss, ax
        USER_TRIED "ss of ring 0"
        USER_TRY
        int 0x82
        USER_TRIED "int of a gate of DPL 0"
        USER_TRY
        int 3
        USER_TRIED "int 3"
        USER_TRY
        call FREE_SEL + 16:0
        USER_TRIED "call gate of DPL 0"
        USER_TRY
        call FREE_SEL + 32:0
        USER_TRIED "absent call gate"
        USER_TRY
        call FREE_SEL + 40:0
        USER_TRIED "call gate to data"
        USER_TRY
        call FREE_SEL + 48:0
        USER_TRIED "call gate to null"
        USER_TRY
        call CODE32:0
        USER_TRIED "call to ring 0 code"
        USER_TRY
        push dword CODE32
        push dword 0
        retf
        USER_TRIED "retf to ring 0"
        USER_TRY
        push dword 2
        push dword CODE32
        push dword 0
        iretd
        USER_TRIED "iret to ring 0"
        USER_TRY
        in al, 0x80
        USER_TRIED "in without permission"
        USER_TRY
        mov eax, 5
        mov ds, ax
        mov eax, ds
        mov eax, [0]
        USER_TRIED "ds in no ldt"

        ; The I/O permission bitmap: port 0x80 open, 0x81 closed, at the end of the TSS.
        mov word [tss32 + 102], 104
        mov edi, tss32 + 104
        mov ecx, 33
        mov al, 0xff
        rep stosb
        mov byte [tss32 + 104 + 16], 0xfe
        mov dword [gdt + TSS_SEL], ((tss32 & 0xffff) << 16) | (104 + 32)
        and byte [gdt + TSS_SEL + 5], 0xfd
        mov ax, TSS_SEL
        ltr ax
        USER_TRY
        in al, 0x80
        USER_TRIED "in of a permitted port"
        USER_TRY
        in al, 0x81
        USER_TRIED "in of a forbidden port"
        USER_TRY
        in ax, 0x80
        USER_TRIED "in of a half permitted word"
        USER_TRY
        mov dx, 0x200
        in al, dx
        USER_TRIED "in beyond the bitmap"

        ; IOPL: POPF in ring 3 leaves IF and IOPL as they are.
        USER_TRY
        push dword 0x3202
        popfd
        pushfd
        pop eax
        mov ecx, USER_DATA              ; IRET has cleared the DS of ring 0
        mov ds, ecx
        mov [SCRATCH], eax
        USER_TRIED "popf in ring 3"
        mov eax, [SCRATCH]
        and eax, 0x3200
        SHOW "IOPL IF after popf", eax

        ; RETF and IRET to an outer ring clear segments that ring 3 may not use.
        mov eax, DATA32
        mov es, eax
        mov fs, eax
        mov eax, USER_DATA
        mov gs, eax
        mov dword [resume_ip], after_retf
        mov [resume_sp], esp
        mov dword [exc_vector], -1
        push dword USER_DATA
        push dword USER_STACK_TOP
        push dword USER_CODE32
        push dword .outer
        retf
.outer: mov ax, USER_DATA
        mov ds, ax
        mov ax, es
        mov [SCRATCH], ax
        mov ax, fs
        mov [SCRATCH + 4], ax
        mov ax, gs
        mov [SCRATCH + 8], ax
        int3
after_retf:
        movzx eax, word [SCRATCH]
        SHOW "es after retf", eax
        movzx eax, word [SCRATCH + 4]
        SHOW "fs after retf", eax
        movzx eax, word [SCRATCH + 8]
        SHOW "gs after retf", eax

        LINE "end"
        EXIT

        align 4
kernel_esp:       dd 0
user_cs:          dd 0
after_int:        dd 0
after_gate_esp:   dd 0
gate_cs:          dd 0
gate_caller_cs:   dd 0
gate_first:       dd 0
gate_second:      dd 0
gate_caller_esp:  dd 0
gate_depth:       dd 0
int_cs:           dd 0
int_ss:           dd 0
int_esp:          dd 0
int_if:           dd 0
trap_cf:          dd 0
