/* A machine whose clock is wrong, or whose names lead elsewhere: preloaded into a program under test.
 *
 * ELSEWHERE_AHEAD  by how many seconds the clock is ahead; may be negative
 * ELSEWHERE_NAMES  a file with the address that every name under .test has now
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

int clock_gettime(clockid_t clock, struct timespec *now)
{
    int (*real)(clockid_t, struct timespec *) = dlsym(RTLD_NEXT, "clock_gettime");
    int failed = real(clock, now);
    const char *ahead = getenv("ELSEWHERE_AHEAD");
    if (!failed && clock == CLOCK_REALTIME && ahead)
        now->tv_sec += atol(ahead);
    return failed;
}

int getaddrinfo(const char *name, const char *service, const struct addrinfo *hints, struct addrinfo **found)
{
    int (*real)(const char *, const char *, const struct addrinfo *, struct addrinfo **) =
        dlsym(RTLD_NEXT, "getaddrinfo");
    const char *names = getenv("ELSEWHERE_NAMES");
    size_t length = name ? strlen(name) : 0;
    char address[64];
    if (names && length > 5 && !strcmp(name + length - 5, ".test")) {
        FILE *file = fopen(names, "r");
        if (!file)
            return EAI_NONAME;
        char *line = fgets(address, sizeof address, file);
        fclose(file);
        if (!line)
            return EAI_NONAME;
        address[strcspn(address, "\n")] = 0;
        name = address;
    }
    return real(name, service, hints, found);
}
