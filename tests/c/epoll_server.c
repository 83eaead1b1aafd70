/* An echo server whose connections are known to epoll's data.ptr alone, with forced collections;
 * its clients run in a forked process. */
#include "check.h"
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/wait.h>

enum { CLIENTS = 100, ROUNDS = 30, MESSAGE = 64 };

struct connection {
    uint64_t magic;
    int fd;
    unsigned messages;
    char *buffer; /* a second block, reachable through the first one only */
    struct connection *self;
};

static int listener, epoll;

NOINLINE static void accept_one(void)
{
    struct connection *connection = calloc(1, sizeof *connection);
    CHECK(connection);
    connection->fd = accept(listener, NULL, NULL);
    CHECK(connection->fd >= 0);
    connection->magic = 0xc0ffee;
    connection->buffer = malloc(MESSAGE);
    connection->self = connection;
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = connection};
    CHECK(epoll_ctl(epoll, EPOLL_CTL_ADD, connection->fd, &event) == 0);
    memset(&event, 0, sizeof event);
}

NOINLINE static int serve(struct connection *connection)
{
    CHECK(connection->magic == 0xc0ffee && connection->self == connection);
    ssize_t got = recv(connection->fd, connection->buffer, MESSAGE, MSG_WAITALL);
    if (got == 0) {
        CHECK(connection->messages == ROUNDS);
        close(connection->fd);
        connection->magic = 0;
        free(connection->buffer);
        free(connection);
        return 1;
    }
    CHECK(got == MESSAGE);
    connection->messages++;
    CHECK(send(connection->fd, connection->buffer, MESSAGE, MSG_NOSIGNAL) == MESSAGE);
    return 0;
}

static void client_process(struct sockaddr_in *address)
{
    int fds[CLIENTS];
    char sent[MESSAGE], got[MESSAGE];
    for (int i = 0; i < CLIENTS; i++) {
        fds[i] = socket(AF_INET, SOCK_STREAM, 0);
        CHECK(connect(fds[i], (struct sockaddr *)address, sizeof *address) == 0);
    }
    for (int round = 0; round < ROUNDS; round++) {
        for (int i = 0; i < CLIENTS; i++) {
            memset(sent, round + i, sizeof sent);
            CHECK(send(fds[i], sent, MESSAGE, 0) == MESSAGE);
            CHECK(recv(fds[i], got, MESSAGE, MSG_WAITALL) == MESSAGE);
            CHECK(memcmp(sent, got, MESSAGE) == 0);
        }
    }
    for (int i = 0; i < CLIENTS; i++)
        close(fds[i]);
    _exit(0);
}

NOINLINE static int turn(void)
{
    struct epoll_event events[16];
    int closed = 0, ready = epoll_wait(epoll, events, 16, 20000);
    CHECK(ready > 0 || errno == EINTR);
    for (int i = 0; i < ready; i++)
        if (events[i].data.ptr == &listener)
            accept_one();
        else
            closed += serve(events[i].data.ptr);
    memset(events, 0, sizeof events);
    __asm__ volatile("" : : "r"(events) : "memory");
    return closed;
}

int main(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = &listener};
    int closed = 0, status;
    listener = socket(AF_INET, SOCK_STREAM, 0);
    epoll = epoll_create1(0);
    CHECK(listener >= 0 && epoll >= 0);
    CHECK(bind(listener, (struct sockaddr *)&address, sizeof address) == 0);
    CHECK(listen(listener, CLIENTS) == 0);
    CHECK(getsockname(listener, (struct sockaddr *)&address, &length) == 0);
    CHECK(epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event) == 0);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0)
        client_process(&address);
    for (int turns = 0; closed < CLIENTS; turns++) {
        if (turns % 64 == 0) {
            collect();
            for (int i = 0; i < 256; i++)
                memset(malloc(sizeof(struct connection)), 0xdd, sizeof(struct connection));
        }
        closed += turn();
    }
    CHECK(waitpid(child, &status, 0) == child && status == 0);
    puts("ok");
    return 0;
}
