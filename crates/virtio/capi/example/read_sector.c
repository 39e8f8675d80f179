/*
 * Reads a sector of the first VirtIO disk of QEMU's machine `virt` and prints its first line. There is no operating system.
 *
 * The status of QEMU tells how it went: 0, or the value of `enum virtio_blk_outcome`.
 */
#include "virtio_blk_driver.h"

#define WINDOW 0x10001000u
#define WINDOW_BYTES 0x1000u
#define SECTOR 3
#define SECTOR_BYTES 512

/* Registers: the window lies in memory as it is. */

static uint32_t read_register(void *context, uint32_t offset, uint32_t bytes)
{
    volatile unsigned char *window = context;

    if (offset + bytes > WINDOW_BYTES)
        return UINT32_MAX;
    switch (bytes) {
    case 1:
        return window[offset];
    case 2:
        return *(volatile uint16_t *)(window + offset);
    default:
        return *(volatile uint32_t *)(window + offset);
    }
}

static void write_register(void *context, uint32_t offset, uint32_t bytes, uint32_t value)
{
    volatile unsigned char *window = context;

    if (offset + bytes > WINDOW_BYTES)
        return;
    if (bytes == 1)
        window[offset] = (unsigned char)value;
    else
        *(volatile uint32_t *)(window + offset) = value;
}

/* Memory: an array, given away piece by piece. The device sees it at the addresses of the program. */

static _Alignas(4096) unsigned char pool[0x8000];
static size_t used;

static void *allocate(void *context, size_t bytes, size_t alignment, uint64_t *device_address)
{
    size_t start = (used + alignment - 1) & ~(alignment - 1);

    (void)context;
    if (alignment > 4096 || start > sizeof pool || bytes > sizeof pool - start)
        return NULL;
    used = start + bytes;
    *device_address = (uintptr_t)(pool + start);
    return pool + start;
}

static void release(void *context, void *start, size_t bytes, uint64_t device_address)
{
    (void)context;
    (void)start;
    (void)bytes;
    (void)device_address;
}

/* Completions: the token is where the outcome goes. */

struct answer {
    int is_there;
    enum virtio_blk_outcome outcome;
};

static void completed(void *context, void *token, enum virtio_blk_outcome outcome, uint64_t bytes)
{
    struct answer *answer = token;

    (void)context;
    (void)bytes;
    answer->outcome = outcome;
    answer->is_there = 1;
}

/* The console and the end. */

static void print(const unsigned char *text)
{
    volatile unsigned char *uart = (volatile unsigned char *)(uintptr_t)0x10000000u;

    for (; *text != '\0' && *text != '\n'; text++)
        uart[0] = *text;
    uart[0] = '\n';
}

_Noreturn void end(int status)
{
    *(volatile uint32_t *)(uintptr_t)0x100000u = status == 0 ? 0x5555u : (uint32_t)status << 16 | 0x3333u;
    for (;;)
        ;
}

_Noreturn void virtio_blk_panicked(void)
{
    end(101);
}

/* The program. */

static _Alignas(64) unsigned char storage[16384];
static _Alignas(SECTOR_BYTES) unsigned char sector[SECTOR_BYTES + 1];

int main(void)
{
    struct virtio_blk_registers registers = { (void *)(uintptr_t)WINDOW, read_register, write_register };
    struct virtio_blk_memory memory = { NULL, allocate, release };
    struct virtio_blk_disk *disk;
    struct answer answer = { 0, VIRTIO_BLK_OUTCOME_OK };
    enum virtio_blk_outcome outcome;

    outcome = virtio_blk_start(&disk, storage, sizeof storage, &registers, &memory);
    if (outcome != VIRTIO_BLK_OUTCOME_OK)
        return outcome;
    /* A request past the end of the disk is refused. */
    if (virtio_blk_read(disk, virtio_blk_capacity(disk), (uintptr_t)sector, SECTOR_BYTES, &answer)
        != VIRTIO_BLK_OUTCOME_OUT_OF_RANGE)
        return 102;
    outcome = virtio_blk_read(disk, SECTOR, (uintptr_t)sector, SECTOR_BYTES, &answer);
    if (outcome != VIRTIO_BLK_OUTCOME_OK)
        return outcome;
    virtio_blk_notify(disk);
    while (!answer.is_there) {
        outcome = virtio_blk_poll(disk, completed, NULL);
        if (outcome != VIRTIO_BLK_OUTCOME_OK)
            return outcome;
    }
    if (answer.outcome != VIRTIO_BLK_OUTCOME_OK)
        return answer.outcome;
    print(sector);
    return virtio_blk_shut_down(disk, completed, NULL);
}
