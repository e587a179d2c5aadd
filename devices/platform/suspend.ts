/** How devices stop the machine. */

/** `exit` ends the program at once with a status of the guest's choice (pc-testdev). */
export type SuspendReason = 'reset' | 'poweroff' | 'halt' | 'triplefault' | 'exit';

export type Suspend = (reason: SuspendReason, status?: number) => void;
