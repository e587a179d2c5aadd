; Debug exceptions that QEMU's TCG does not know: ICEBP while another one is pending, and HLT under single step.
%include "common.nasm"

        bits 32
main:
        LINE "traps"
        LONG go

        bits 64
%include "debuglog.nasm"

go:
        mov dword [hooks + 4], on_db
        mov eax, 0xffff0ff0
        mov dr6, rax
        mov word [SCRATCH], DATA32
        mov eax, SCRATCH
        mov dr0, rax

        ; a data breakpoint on the operand of MOV SS waits for the next instruction: one #DB for both
        mov qword [log_base], ice_begin
        mov eax, 0x00070401
        mov dr7, rax
ice_begin:
        mov ss, [SCRATCH]
        db 0xf1
        nop
        mov eax, 0x400
        mov dr7, rax
        LOGGED "data breakpoint on mov ss, and icebp"

        ; HLT is stepped like anything else
        mov qword [log_base], .hlt
        STEP
.hlt:   hlt
        nop
        NO_STEP
        SHOW "first trap after hlt", [log_ip]
        mov dword [log_count], 0

        ; INT3 there: the handler of #BP has not begun when #DB comes
        mov qword [log_base], .bp
        mov dword [hooks + 3 * 4], on_bp
        mov eax, 0x00070401
        mov dr7, rax
.bp:    mov ss, [SCRATCH]
        int3
        nop
        mov eax, 0x400
        mov dr7, rax
        mov rax, [log_ip]
        add rax, [log_base]
        mov rcx, stubs64 + 3 * 16
        cmp rax, rcx
        sete al
        movzx eax, al
        SHOW "#DB at the handler of #BP", rax
        SHOW "#BP after it", [breakpoints]
        LINE "end"
        EXIT
on_bp:  inc qword [breakpoints]
        ret
        align 8
breakpoints:    dq 0
