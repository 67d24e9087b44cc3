/* Preloaded into a process, this forbids every way onto the network and writes each attempt into the file that
   NETWORK_LOG names. Sockets of the machine itself (AF_UNIX, AF_NETLINK) are let through, and with NETWORK_LOOPBACK set
   also 127.0.0.0/8, ::1, and the names of these. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dlfcn.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

static void note(const char *what, const char *where, int port) {
    const char *path = getenv("NETWORK_LOG");
    FILE *file = path ? fopen(path, "a") : NULL;
    if (file == NULL) abort(); /* a watcher that cannot write must not look like silence */
    fprintf(file, "%s %s %d\n", what, where, port);
    fclose(file);
}

static int is_loopback(const char *host) {
    if (getenv("NETWORK_LOOPBACK") == NULL) return 0;
    return host == NULL || strcmp(host, "localhost") == 0 || strcmp(host, "::1") == 0 || strncmp(host, "127.", 4) == 0 ||
           strncmp(host, "::ffff:127.", 11) == 0;
}

static int is_outside(const char *what, const struct sockaddr *address) {
    char text[INET6_ADDRSTRLEN] = "?";
    if (address == NULL) return 0;
    if (address->sa_family == AF_INET) {
        const struct sockaddr_in *four = (const struct sockaddr_in *)address;
        inet_ntop(AF_INET, &four->sin_addr, text, sizeof text);
        if (is_loopback(text)) return 0;
        note(what, text, ntohs(four->sin_port));
        return 1;
    }
    if (address->sa_family == AF_INET6) {
        const struct sockaddr_in6 *six = (const struct sockaddr_in6 *)address;
        inet_ntop(AF_INET6, &six->sin6_addr, text, sizeof text);
        if (is_loopback(text)) return 0;
        note(what, text, ntohs(six->sin6_port));
        return 1;
    }
    return 0;
}

int connect(int fd, const struct sockaddr *address, socklen_t length) {
    if (is_outside("connect", address)) return errno = ENETUNREACH, -1;
    int (*real)(int, const struct sockaddr *, socklen_t) = dlsym(RTLD_NEXT, "connect");
    return real(fd, address, length);
}

ssize_t sendto(int fd, const void *data, size_t size, int flags, const struct sockaddr *address, socklen_t length) {
    if (is_outside("sendto", address)) return errno = ENETUNREACH, -1;
    ssize_t (*real)(int, const void *, size_t, int, const struct sockaddr *, socklen_t) = dlsym(RTLD_NEXT, "sendto");
    return real(fd, data, size, flags, address, length);
}

ssize_t sendmsg(int fd, const struct msghdr *message, int flags) {
    if (message != NULL && is_outside("sendmsg", message->msg_name)) return errno = ENETUNREACH, -1;
    ssize_t (*real)(int, const struct msghdr *, int) = dlsym(RTLD_NEXT, "sendmsg");
    return real(fd, message, flags);
}

int getaddrinfo(const char *node, const char *service, const struct addrinfo *hints, struct addrinfo **result) {
    int (*real)(const char *, const char *, const struct addrinfo *, struct addrinfo **) =
        dlsym(RTLD_NEXT, "getaddrinfo");
    if (is_loopback(node)) return real(node, service, hints, result);
    note("getaddrinfo", node ? node : "(this machine)", 0);
    return EAI_FAIL;
}
