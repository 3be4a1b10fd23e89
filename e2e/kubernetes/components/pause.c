/* Holds a pod's namespaces open until it is told to go. As process 1 it reaps nothing: no container shares its process namespace. */
#include <signal.h>
#include <unistd.h>

static void leave(int signal_number) {
    (void)signal_number;
    _exit(0);
}

int main(void) {
    signal(SIGTERM, leave);
    signal(SIGINT, leave);
    for (;;) {
        pause();
    }
}
