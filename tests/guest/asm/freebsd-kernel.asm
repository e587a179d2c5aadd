; An ELF64 "kernel" for FreeBSD that is entered as bhyveload enters one and says on COM1 what it was handed: the preload records with their
; strings, the environment, and whether registers, stack and page tables are as they should be. Ends through the debug exit port.
%define BASE 0xffffffff80200000
        bits 64
        org BASE

header:
        db 0x7f, 'ELF', 2, 1, 1, 9                      ; 64-bit, little-endian, FreeBSD
        times 8 db 0
        dw 2, 62                                        ; ET_EXEC, EM_X86_64
        dd 1
        dq entry
        dq program - header
        dq 0
        dd 0
        dw 64, 56, 1, 64, 0, 0
program:
        dd 1, 7
        dq 0
        dq BASE
        dq BASE
        dq end - header
        dq end - header + 0x1000
        dq 0x1000

COM1    equ 0x3f8
DEBUG_EXIT equ 0xf4

entry:
        ; RSP is 0x1000: a return address, modulep and kernend.
        mov eax, esp
        cmp eax, 0x1000
        jne wrong
        cmp dword [rsp], 0
        jne wrong
        mov esi, [rsp + 4]
        mov ebp, [rsp + 8]
        mov rax, cr3
        cmp rax, 0x2000
        jne wrong
        mov rax, cr0
        and eax, 0x80000021
        cmp eax, 0x80000021
        jne wrong
        ; Every virtual address aliases the low 1 GiB.
        mov rax, [header]
        cmp rax, [0x200000]
        jne wrong
        mov r8, 0x7fff80200000
        cmp rax, [r8]
        jne wrong
        mov rsp, stack_top
record:
        mov eax, [rsi]
        mov ecx, [rsi + 4]
        lea rbx, [rsi + 8]
        test eax, eax
        jz done
        cmp eax, 1
        je text
        cmp eax, 2
        je text
        cmp eax, 6
        je text
        cmp eax, 0x8006
        je environment
        cmp eax, 0x8008
        je kernend
next:
        lea rsi, [rbx + rcx + 7]
        and rsi, -8
        jmp record
text:
        push rbx
        call print
        pop rbx
        jmp next
environment:
        push rsi
        push rcx
        push rbx
        mov rbx, [rbx]
.each:
        cmp byte [rbx], 0
        je .over
        call print
        jmp .each
.over:
        pop rbx
        pop rcx
        pop rsi
        jmp next
kernend:
        cmp rbp, [rbx]
        jne wrong
        jmp next

; Prints the string at RBX and a newline; RBX is behind its NUL afterwards.
print:
        mov dx, COM1
.byte:
        mov al, [rbx]
        inc rbx
        test al, al
        jz .end
        out dx, al
        jmp .byte
.end:
        mov al, 10
        out dx, al
        ret

done:
        xor eax, eax
        jmp exit
wrong:
        mov eax, 1
exit:
        mov dx, DEBUG_EXIT
        out dx, eax
        hlt
        jmp exit

        align 16
end:
        absolute end
        resb 0x800
stack_top:
        resb 0x800
