/* The manager: the "kernel" of a workstation. It owns the pool, decides who owns a container, and runs the
 * UDP/IPv4/ARP path between the interfaces and the endpoints of processes. One thread, one loop. */
#ifndef CS_MANAGER_H
#define CS_MANAGER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#include "../net/arp.h"
#include "../net/backend.h"
#include "../net/fragment.h"
#include "../net/reassembly.h"
#include "counters.h"
#include "pool.h"
#include "protocol.h"
#include "ring.h"

#define CS_INTERFACES 8
#define CS_PROCESSES (CS_OWNERS - 1)
#define CS_ENDPOINTS 64
#define CS_FRAMEBUFFERS 4
#define CS_MIN_QUEUE 16
#define CS_MIN_CHANNEL_QUEUE 1
#define CS_MAX_QUEUE 65536

struct cs_interface_config {
    char name[16];
    uint8_t mac[6];
    uint32_t ip, mask; /* host byte order */
    uint32_t mtu;
};

struct cs_manager_config {
    struct cs_interface_config interface[CS_INTERFACES];
    uint32_t interfaces;
    char socket[108];
    char backend[16]; /* "xdp", "packet", or "auto": the first that works */
    uint32_t queue;   /* datagrams that may wait in front of the host's processes, per interface */
    bool segmentation; /* use the adapter's segmentation offload, if it can be had */
    uint32_t pages;    /* of the pool that processes may allocate, beside those for the network; 0: 4096 */
    uint32_t protection; /* enum cs_protection */
    uint32_t zeroing;    /* enum cs_zeroing */
    bool no_recycling;   /* pages go back to the pool at once, mappings last as long as containers */
    uint32_t page_bytes; /* CS_PAGE_SIZE, also if 0; or CS_LARGE_PAGE, where there is no network */
};

enum cs_drop {
    CS_DROP_NO_PORT = CS_PACKET_KINDS, /* after the kinds of packets nobody wants */
    CS_DROP_ENDPOINT_QUEUE,
    CS_DROP_BAD_DESCRIPTOR,
    CS_DROP_TOO_BIG,
    CS_DROP_NO_PAGE,
    CS_DROP_CLOSED,
    CS_DROP_CHECKSUM,
    CS_DROPS
};

struct cs_endpoint {
    bool used;
    uint16_t process; /* slot */
    struct cs_interface *interface;
    uint32_t local, remote;
    uint16_t local_port, remote_port;
    struct cs_neighbour *neighbour;
    struct cs_ring rx, tx; /* the manager produces rx and consumes tx */
    void *memory;
    size_t bytes;
    uint32_t unfinished; /* descriptors in tx of a message whose end was not there in the last pass */
    int doorbell;      /* eventfd, which its process hears through cs_endpoint_bell and never has itself */
    int kernel_socket; /* holds the port where the kernel sees our frames too, else -1 */
    cs_counter *backlog;

    /* A channel (interface is NULL): */
    char name[CS_CHANNEL_NAME];
    struct cs_ring back; /* the manager produces: containers that the other end is done with, for this one to reuse */
    uint16_t peer; /* endpoint of the other end + 1; 0: not there yet, or no more */
    bool ended;    /* the other end was there and is gone */
    bool blocked;  /* nothing in tx can move until the other end does something */
    bool announce; /* rx got something of which its reader may not know */
    struct cs_desc *late; /* what the other end had written when it closed and did not fit into rx */
    uint32_t late_next, late_count;

    /* A frame buffer (interface is NULL; back is of what was drawn): */
    struct cs_framebuffer_device *framebuffer;
    struct cs_part drawn; /* of the first container in tx, what has still to be; len 0: not begun */
    bool kept;            /* that container, by the device, see scanout.h */
    struct cs_file *file; /* a file's, else NULL */
};

struct cs_interface {
    struct cs_netif netif;
    struct cs_arp arp;
    struct cs_reassembly reassembly;
    uint16_t ports[65536]; /* UDP port -> endpoint + 1 */
};

struct cs_manager {
    struct cs_pool pool;
    struct cs_counters *counters;
    struct cs_interface *interface[CS_INTERFACES];
    uint32_t interfaces;
    struct cs_endpoint endpoint[CS_ENDPOINTS];
    uint32_t endpoints; /* the highest that was ever used + 1: the loop looks no further */
    int process[CS_PROCESSES]; /* control socket or -1 */
    int life[CS_PROCESSES];    /* pidfd: readable when it has ended, whoever else holds its socket */
    int bell[CS_PROCESSES];    /* eventfd by which it wakes us; it has it too, so its flags are anybody's */
    bool shielded[CS_PROCESSES]; /* it has been given what it needs for that, once */
    uint32_t processes;        /* attached now */
    int listener, doorbell; /* the disk's, and nobody else's */
    uint64_t accept_after_ns; /* nobody can be let in before that */
    uint64_t wake_after_ns;   /* nor keepers be woken again for what others lack */
    uint32_t queue;
    bool segmentation, no_recycling;
    uint32_t protection, zeroing;
    uint16_t packet_id, next_port;
    uint16_t fragmented_id; /* of their own, so that they come again as late as can be (RFC 6864) */
    bool held_back; /* in this pass a message had to wait for the network or a neighbour */
    char socket[108];
    cs_counter *drops[CS_DROPS], *datagrams_in, *bytes_in, *datagrams_out, *bytes_out, *wakeups, *reclaimed;
    cs_counter *fragments_in, *fragments_out;
    cs_counter *messages, *message_bytes; /* through channels */
    cs_counter *requests;                 /* on the socket */
    struct cs_framebuffer_device *framebuffer[CS_FRAMEBUFFERS];
    uint64_t framebuffer_openings;
    uint32_t scanned_out;             /* pages that frame buffers with DMA keep */
    cs_counter *frames, *frame_bytes; /* drawn */
    cs_counter *attached, *open;          /* processes and endpoints, now */

    struct cs_disk *disk;  /* NULL until a file is opened */
    struct cs_file *files; /* open, or with something under way */
    uint32_t file_pages;   /* under way, of all of them */
    uint32_t files_closing; /* that nobody has open any more */
    cs_counter *file_bytes_in, *file_bytes_out, *file_bytes_buffered, *file_errors;
};

static inline uint64_t cs_now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* On failure a negative errno value, with what was attempted in error. */
int cs_manager_open(struct cs_manager **out, const struct cs_manager_config *config, struct cs_counters *counters,
                    char *error, size_t error_bytes);
/* Serve until *stop. Returns 0 or a negative errno value. */
int cs_manager_run(struct cs_manager *m, _Atomic int *stop);
/* It takes no longer than some seconds, whatever disks do. How many transfers one has left unfinished: pool and doorbell
 * then stay, for the kernel to write to, until the process ends. */
uint32_t cs_manager_close(struct cs_manager *m);

/* control.c: the manager's socket */
int cs_control_open(struct cs_manager *m, const char *path);
void cs_control_accept(struct cs_manager *m);
void cs_control_serve(struct cs_manager *m, uint32_t process);
/* The process has ended or hung up: what it wrote still goes its way, then as below. */
void cs_control_end(struct cs_manager *m, uint32_t process);
/* The process is gone or broke the rules: close its endpoints, take everything back. */
void cs_control_drop(struct cs_manager *m, uint32_t process);

/* endpoint.c */
struct cs_endpoint *cs_endpoint_unused(struct cs_manager *m);
/* Two rings of at least so many descriptors, a third if it is to have `back`, and a doorbell. The memory's descriptor
 * is the caller's. */
int cs_endpoint_rings(struct cs_endpoint *e, uint32_t descriptors, bool back, int *memory_fd);
/* A new one of a local device: rings, and what goes with the reply in fds. On error nothing stays. */
int cs_endpoint_begin(struct cs_manager *m, struct cs_endpoint *e, uint32_t process, uint32_t descriptors, bool back,
                      int *fds);
/* It is in use from here on. Fills the reply; returns how many descriptors go with it. */
int cs_endpoint_opened(struct cs_manager *m, struct cs_endpoint *e, struct cs_reply *reply);
/* A descriptor for its process that is readable when the endpoint has been rung, or -errno. */
int cs_endpoint_bell(const struct cs_endpoint *e);
/* Duplicates of our descriptors to send; how many, or -errno and none. */
int cs_duplicate(int *fds, const int *ours, int count);
void cs_endpoint_ring(struct cs_endpoint *e);
/* A container that its last owner is done with: to this end's process for reuse, where there is room for it, else to
 * the pool. The caller submits `back`. */
void cs_endpoint_recycle(struct cs_manager *m, struct cs_endpoint *to, uint32_t page);
/* Descriptors of the message in tx that begins there; 0: its end is not there. Never more than a message may have. */
uint32_t cs_endpoint_message(const struct cs_endpoint *e, uint32_t from, uint32_t ready);
/* The pages that so many descriptors name. */
uint32_t cs_endpoint_pages(const struct cs_manager *m, const struct cs_endpoint *e, uint32_t from, uint32_t count);
/* Move what its process wrote; true if there was something to do. A process that broke its ring is dropped. */
bool cs_endpoint_pass(struct cs_manager *m, struct cs_endpoint *e);
void cs_endpoint_send_last(struct cs_manager *m, struct cs_endpoint *e);
/* What waits in an endpoint that closes is lost, by name, and its containers go back. */
void cs_endpoint_lose(struct cs_manager *m, struct cs_endpoint *e);
void cs_endpoint_close(struct cs_manager *m, struct cs_endpoint *e);

/* devices/channel.c */
int cs_channel_open(struct cs_manager *m, uint32_t process, const struct cs_request *q, struct cs_reply *reply, int *fds);
bool cs_channel_pass(struct cs_manager *m, struct cs_endpoint *e);
/* This end closes: the other gets what was written, then the end. */
void cs_channel_hang_up(struct cs_manager *m, struct cs_endpoint *e);

/* devices/framebuffer.c */
int cs_framebuffer_open(struct cs_manager *m, uint32_t process, const struct cs_request *q, struct cs_reply *reply, int *fds);
int cs_framebuffer_view(struct cs_manager *m, const struct cs_request *q, int *fds);
int cs_framebuffer_ioctl(struct cs_manager *m, uint32_t process, const struct cs_request *q, struct cs_reply *reply);
bool cs_framebuffer_pass(struct cs_manager *m, struct cs_endpoint *e);
/* This endpoint closes: the frame that it left unfinished is never shown. */
void cs_framebuffer_leave(struct cs_manager *m, struct cs_endpoint *e);
void cs_framebuffers_close(struct cs_manager *m);

/* devices/file.c: given: two descriptors that came with the request; one that is taken becomes -1 */
int cs_file_open(struct cs_manager *m, uint32_t process, const struct cs_request *q, int *given, struct cs_reply *reply,
                 int *fds);
bool cs_file_pass(struct cs_manager *m, struct cs_endpoint *e);
/* Nobody has it open any more. */
void cs_file_hang_up(struct cs_manager *m, struct cs_endpoint *e);
/* Will it take more descriptors from processes? Not while too many wait to be closed. */
bool cs_files_take(const struct cs_manager *m);
/* Close these, which a process sent and nobody keeps (-1: none), without waiting for it: whoever serves the file system can make
 * that last for ever. */
void cs_files_discard(struct cs_manager *m, const int *given);
/* What disks have finished, and files that nobody has open; true if there was something to do. */
bool cs_files_pass(struct cs_manager *m);
/* Wait for all that is under way, for some seconds. How many transfers there are still then: the disk may yet use what
 * they name. */
uint32_t cs_files_end(struct cs_manager *m);

/* datapath.c: one pass each; true if there was something to do */
bool cs_receive_pass(struct cs_manager *m, struct cs_interface *interface);
bool cs_send_pass(struct cs_manager *m, struct cs_endpoint *e);

#endif
