; A log of debug exceptions, for guests in 64-bit mode: LOGGED "name" prints and empties it.
; Every #DB is logged: DR6, CS and where (relative to log_base).
on_db:
        mov rax, dr6
        mov edi, [log_count]
        mov [log_dr6 + rdi * 8], rax
        mov rax, [rbp + 8]
        sub rax, [log_base]
        mov [log_ip + rdi * 8], rax
        mov rax, [rbp + 16]
        mov [log_cs + rdi * 8], rax
        inc dword [log_count]
        mov eax, 0xffff0ff0
        mov dr6, rax
        ret
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
        PRINT " cs "
        NUMBER [log_cs + r12 * 8]
        PRINT " at +"
        NUMBER [log_ip + r12 * 8]
        PRINT 10
        inc r12d
        jmp .next
.end:   mov dword [log_count], 0
        ret
%macro STEP 0
        pushfq
        or dword [rsp], 0x100
        popfq
%endmacro
%macro NO_STEP 0
        pushfq
        and dword [rsp], ~0x100
        popfq
%endmacro

        align 8
log_base:       dq 0
log_count:      dq 0
log_dr6:        times 40 dq 0
log_ip:         times 40 dq 0
log_cs:         times 40 dq 0
