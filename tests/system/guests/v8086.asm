; Virtual-8086 mode: entry by IRET, segments, sensitive instructions with IOPL 0 and 3, interrupts back to ring 0.
%include "common.nasm"

V86             equ 0x8000              ; the 16-bit code lies here
        bits 32
; V86_RUN "name", code, IOPL bits: runs code until it faults
%macro V86_RUN 3
        mov esi, %2
        mov edi, V86
        mov ecx, 64
        rep movsb
        mov dword [resume_ip], %%after
        mov [resume_sp], esp
        mov dword [exc_vector], -1
        mov dword [try_start], 0
        push dword 0                    ; GS
        push dword 0                    ; FS
        push dword 0x1234               ; DS
        push dword 0x2345               ; ES
        push dword 0x0700               ; SS
        push dword 0x0100               ; ESP
        push dword 0x20002 | %3
        push dword V86 >> 4
        push dword 0
        iretd
%%after:
        PRINT %1, ": "
        call report32
        and dword [exc_flags], 0x23200
        SHOW "  VM IOPL IF in the frame", [exc_flags]
%endmacro
main:
        LINE "v8086"
        call load_tss32
        mov dword [SCRATCH], 0
        V86_RUN "hlt", code_hlt, 0
        SHOW "ip", [exc_ip]
        SHOW "cs", [exc_cs]
        SHOW "sp", [exc_sp]
        SHOW "ss", [exc_ss]
        V86_RUN "cli with IOPL 0", code_cli, 0
        V86_RUN "cli with IOPL 3", code_cli, 0x3000
        V86_RUN "sti with IOPL 0", code_sti, 0
        V86_RUN "pushf with IOPL 0", code_pushf, 0
        V86_RUN "pushf with IOPL 3", code_pushf, 0x3000
        V86_RUN "popf with IOPL 0", code_popf, 0
        V86_RUN "int 0x21 with IOPL 0", code_int, 0
        V86_RUN "int 0x21 with IOPL 3", code_int, 0x3000
        V86_RUN "iret with IOPL 0", code_iret, 0
        V86_RUN "popf with IOPL 3", code_popf3, 0x3000
        V86_RUN "iret with IOPL 3", code_iret3, 0x3000
        SHOW "ip", [exc_ip]
        SHOW "sp", [exc_sp]
        V86_RUN "iretd with IOPL 3", code_iretd3, 0x3000
        SHOW "ip", [exc_ip]
        SHOW "sp", [exc_sp]
        V86_RUN "int3", code_int3, 0
        V86_RUN "in without permission", code_in, 0x3000
        V86_RUN "lgdt", code_lgdt, 0x3000
        V86_RUN "mov from cr0", code_cr0, 0x3000
        V86_RUN "lldt", code_lldt, 0x3000
        V86_RUN "arpl", code_arpl, 0x3000
        V86_RUN "word across the segment's end", code_wrap, 0
        mov word [0x9000], 0
        V86_RUN "segment arithmetic", code_segments, 0
        movzx eax, word [0x9000]
        SHOW "stored", eax
        SHOW "eip", [exc_ip]
        LINE "end"
        EXIT

        bits 16
code_hlt:       hlt
code_cli:       cli
                hlt
code_sti:       sti
                hlt
code_pushf:     pushf
                hlt
code_popf:      popf
                hlt
code_int:       int 0x21
code_iret:      iret
code_popf3:     push word 0x0202        ; IF, and IOPL 0, which stays 3
                popf
                hlt
code_iret3:     push word 0x0202
                push cs
                push word .here - code_iret3
                iret
                nop
.here:          hlt
code_iretd3:    push dword 0x0202       ; VM stays as well
                push dword V86 >> 4
                push dword .here - code_iretd3
                iretd
                nop
.here:          hlt
code_int3:      int3
code_in:        in al, 0x80
                hlt
code_lgdt:      lgdt [0]
                hlt
code_cr0:       mov eax, cr0
                hlt
code_lldt:      lldt ax
                hlt
code_arpl:      arpl ax, ax
                hlt
code_wrap:      mov ax, [0xffff]
                hlt
code_segments:  mov ax, 0x0880
                mov ds, ax
                mov ax, ds
                mov word [0x800], ax
                call near .near
                hlt
.near:          pop bx
                jmp (V86 >> 4):(.far - code_segments)
.far:           hlt
                times 64 nop
