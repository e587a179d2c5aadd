; INT3, INTO, ICEBP, single step, instruction and data breakpoints, MOV SS shadow, general detect, RF.
%include "common.nasm"

        bits 32
main:
        LINE "debug"
        LONG go

        bits 64
; Every #DB is logged: DR6 and where (relative to log_base), then goes on.
on_db:
        mov rax, dr6
        mov edi, [log_count]
        cmp edi, 40
        jae .full
        mov [log_dr6 + rdi * 8], rax
        mov rax, [rbp + 8]
        sub rax, [log_base]
        mov [log_ip + rdi * 8], rax
        inc dword [log_count]
.full:  mov eax, 0xffff0ff0
        mov dr6, rax
        ; an instruction breakpoint is a fault: go on by RF
        or dword [rbp + 24], 0x10000
        test byte [stop_stepping], 1
        jz .keep
        and dword [rbp + 24], ~0x100
.keep:  ret

; LOGGED "name": prints what was logged since the last time
%macro LOGGED 1
        LINE %1
        call print_log
%endmacro
print_log:
        xor r12d, r12d
.next:  cmp r12d, [log_count]
        jae .end
        PRINT "  dr6 "
        mov rax, [log_dr6 + r12 * 8]
        and eax, 0xe00f
        NUMBER rax
        PRINT " at +"
        NUMBER [log_ip + r12 * 8]
        PRINT 10
        inc r12d
        jmp .next
.end:   mov dword [log_count], 0
        ret

go:
        mov dword [hooks + 4], on_db
        mov eax, 0xffff0ff0
        mov dr6, rax

        ; single step
        mov qword [log_base], step_begin
        pushfq
        or dword [rsp], 0x100
        popfq
step_begin:
        nop
        mov eax, 5
        add eax, eax
        mov ecx, 3
        mov esi, SCRATCH
        mov edi, SCRATCH + 0x100
        rep movsb
        jmp step_next
        nop
step_next:
        mov ebx, ss
        mov ss, ebx                     ; no trap between this and the next instruction
        nop
        pushfq
        and dword [rsp], ~0x100
        popfq
        nop
        LOGGED "single step"
        ; TF in the pushed image
        pushfq
        or dword [rsp], 0x100
        popfq
        pushfq
        pop rax
        and eax, 0x100
        mov rbx, rax
        pushfq
        and dword [rsp], ~0x100
        popfq
        mov dword [log_count], 0
        SHOW "TF seen by pushf", rbx
        ; an interrupt clears TF for its handler, IRET brings it back
        mov dword [hooks + 0x80 * 4], on_int
        mov qword [log_base], int_begin
        pushfq
        or dword [rsp], 0x100
        popfq
int_begin:
        int 0x80
        nop
        pushfq
        and dword [rsp], ~0x100
        popfq
        nop
        LOGGED "single step over int"
        SHOW "TF in the handler", [tf_in_handler]

        ; instruction breakpoint in DR0
        mov qword [log_base], bp0
        mov rax, bp0
        mov dr0, rax
        mov eax, 0x00000402
        mov dr7, rax
        xor ecx, ecx
bp0:    inc ecx
        cmp ecx, 3
        jb bp0
        mov eax, 0x400
        mov dr7, rax
        LOGGED "instruction breakpoint"
        SHOW "loop ran", rcx

        ; data breakpoints: DR1 write of 4 bytes, DR2 read or write of 1 byte, DR3 write of 8
        mov qword [log_base], data_begin
        mov eax, SCRATCH + 0x10
        mov dr1, rax
        mov eax, SCRATCH + 0x21
        mov dr2, rax
        mov eax, SCRATCH + 0x40
        mov dr3, rax
        mov eax, 0x400 | (2 << 2) | (2 << 4) | (2 << 6) | (0xd << 20) | (0x3 << 24) | (0x9 << 28)
        mov dr7, rax
data_begin:
        mov eax, [SCRATCH + 0x10]       ; +0: a read does not match DR1
        mov [SCRATCH + 0x10], eax       ; +7
        mov [SCRATCH + 0x13], al        ; last byte
        mov [SCRATCH + 0x14], eax       ; past it
        mov [SCRATCH + 0x0d], eax       ; overlaps
        mov al, [SCRATCH + 0x21]        ; read matches DR2
        mov eax, [SCRATCH + 0x20]       ; overlaps
        mov [SCRATCH + 0x22], al        ; beside
        mov [SCRATCH + 0x47], al        ; last byte of DR3
        add dword [SCRATCH + 0x10], 1
        nop
        mov eax, 0x400
        mov dr7, rax
        LOGGED "data breakpoints"

        ; general detect: DR access with DR7.GD
        mov qword [log_base], gd
        mov eax, 0x2400
        mov dr7, rax
        mov dword [hooks + 4], on_gd
gd:     mov rax, dr0
        mov dword [hooks + 4], on_db
        SHOW "general detect dr6", [gd_dr6]
        mov rax, dr7
        and eax, 0x2000
        SHOW "GD after", rax
        mov eax, 0x400
        mov dr7, rax

        ; INT3 and ICEBP
        mov dword [hooks + 4], 0
        TRY
        int3
        TRIED "int3"
        TRY
        db 0xcd, 3
        TRIED "int 3 in two bytes"
        TRY
        db 0xf1
        TRIED "icebp"
        TRY
        db 0xf0, 0xcc
        TRIED "lock int3"
        TRY
        pushfq
        or dword [rsp], 0x100
        popfq
        nop
        TRIED "single step once"
        mov rax, [exc_flags]
        and eax, 0x10100
        SHOW "TF RF in the frame", rax
        TRY
        ud2
        TRIED "ud2"
        mov rax, [exc_flags]
        and eax, 0x10000
        SHOW "RF in the frame of a fault", rax
        TRY
        int3
        TRIED "int3 again"
        mov rax, [exc_flags]
        and eax, 0x10000
        SHOW "RF in the frame of a trap", rax
        mov rax, dr6
        and eax, 0x4000
        SHOW "dr6 BS stays", rax
        LINE "end"
        EXIT
on_int: mov eax, 0
        pushfq
        pop rax
        and eax, 0x100
        mov [tf_in_handler], rax
        ret
on_gd:  mov rax, dr6
        and eax, 0xf00f
        mov [gd_dr6], rax
        mov eax, 0xffff0ff0
        mov dr6, rax
        ret
        align 8
log_base:       dq 0
log_count:      dq 0
stop_stepping:  dq 0
tf_in_handler:  dq -1
gd_dr6:         dq 0
log_dr6         equ SCRATCH + 0x1000
log_ip          equ SCRATCH + 0x2000
