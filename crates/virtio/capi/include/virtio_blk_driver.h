/* A VirtIO block driver for kernels in C, made from the crate virtio-blk-capi by `cargo xtask generate header`. */

#ifndef VIRTIO_BLK_DRIVER_H
#define VIRTIO_BLK_DRIVER_H

#include <stddef.h>
#include <stdint.h>

// How a call or a request ended.
enum virtio_blk_outcome {
  // It succeeded.
  VIRTIO_BLK_OUTCOME_OK = 0,
  // An argument is null, or the storage is too small or not aligned.
  VIRTIO_BLK_OUTCOME_ARGUMENT = 1,
  // There is no VirtIO device at the registers, or not one for blocks.
  VIRTIO_BLK_OUTCOME_NO_DEVICE = 2,
  // The device did not come up.
  VIRTIO_BLK_OUTCOME_NOT_STARTED = 3,
  // The platform gave no memory.
  VIRTIO_BLK_OUTCOME_MEMORY = 4,
  // No room now: try again after a completion.
  VIRTIO_BLK_OUTCOME_QUEUE_FULL = 5,
  // The request reaches past the end of the disk.
  VIRTIO_BLK_OUTCOME_OUT_OF_RANGE = 6,
  // Position or length is not a multiple of the block size, or there is nothing to transfer.
  VIRTIO_BLK_OUTCOME_MISALIGNED = 7,
  // The disk cannot be written.
  VIRTIO_BLK_OUTCOME_READ_ONLY = 8,
  // The device cannot do that.
  VIRTIO_BLK_OUTCOME_UNSUPPORTED = 9,
  // The device, or its storage, failed.
  VIRTIO_BLK_OUTCOME_IO = 10,
  // The disk was shut down before the request was done.
  VIRTIO_BLK_OUTCOME_ABORTED = 11,
  // The device broke the rules, or is gone: shut the disk down.
  VIRTIO_BLK_OUTCOME_BROKEN = 12,
  // The device did not finish its reset, and may still be using its memory: try again later.
  VIRTIO_BLK_OUTCOME_TIMED_OUT = 13,
};

// A started disk, in the storage of the caller.
struct virtio_blk_disk;

// The registers of a device: its MMIO window.
struct virtio_blk_registers {
  // Handed to the callbacks.
  void *context;
  // Reads `bytes` (1, 2 or 4) at an offset from the start of the window, in one access. All ones beyond its end.
  uint32_t (*read)(void *context, uint32_t offset, uint32_t bytes);
  // Writes `bytes` (1 or 4) at an offset from the start of the window, in one access. Nothing beyond its end.
  void (*write)(void *context, uint32_t offset, uint32_t bytes, uint32_t value);
};

// Where memory comes from that the device can reach.
struct virtio_blk_memory {
  // Handed to the callbacks.
  void *context;
  // Gives `bytes` zeroed bytes, aligned to `alignment` (a power of two) for the processor and the device, and their address as the device
  // sees it. Null: there is none. Called by `virtio_blk_start` only.
  void *(*allocate)(void *context, size_t bytes, size_t alignment, uint64_t *device_address);
  // Takes memory back that `allocate` gave. Called by `virtio_blk_shut_down`, and by a start that fails.
  void (*release)(void *context, void *start, size_t bytes, uint64_t device_address);
};

// Called once for each request that is over: with the context of the call, the token of the request, how it ended, and how many bytes
// were transferred. It must not call the driver.
typedef void (*virtio_blk_completed)(void *context,
                                     void *token,
                                     enum virtio_blk_outcome outcome,
                                     uint64_t bytes);

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

// How many bytes of storage a disk takes, aligned to 64 bytes.
size_t virtio_blk_disk_bytes(void);

// Brings the device at the registers up. The disk lies in the storage, which stays where it is until the disk is shut down.
//
// The part of the caller:
//
// * `disk`, `registers` and `memory` are null or point to values of their types; `storage` is null or points to `bytes` bytes that
//   nothing else uses until the disk is shut down.
// * The callbacks do as their descriptions say. They access the registers of one device, which nothing else writes until the disk is shut
//   down, and which is cut off from memory once its registers read as all ones.
enum virtio_blk_outcome virtio_blk_start(struct virtio_blk_disk **disk,
                                         void *storage,
                                         size_t bytes,
                                         const struct virtio_blk_registers *registers,
                                         const struct virtio_blk_memory *memory);

// The size of the disk in sectors of 512 bytes.
//
// The part of the caller:
//
// `disk` is a started disk, and no other call with it is under way.
uint64_t virtio_blk_capacity(const struct virtio_blk_disk *disk);

// The size of a block in bytes. Positions and lengths are multiples of it.
//
// The part of the caller:
//
// `disk` is a started disk, and no other call with it is under way.
uint32_t virtio_blk_block_bytes(const struct virtio_blk_disk *disk);

// Takes a read into a buffer. If the answer is not `Ok`, the request was not taken, and there will be no completion.
//
// The part of the caller:
//
// `disk` is a started disk, and no other call with it is under way. The device sees `bytes` bytes of memory at `address`, which no other code
// uses until the request is over.
enum virtio_blk_outcome virtio_blk_read(struct virtio_blk_disk *disk,
                                        uint64_t sector,
                                        uint64_t address,
                                        uint32_t bytes,
                                        void *token);

// Takes a write of a buffer. If the answer is not `Ok`, the request was not taken, and there will be no completion.
//
// The part of the caller:
//
// As for `virtio_blk_read`.
enum virtio_blk_outcome virtio_blk_write(struct virtio_blk_disk *disk,
                                         uint64_t sector,
                                         uint64_t address,
                                         uint32_t bytes,
                                         void *token);

// Takes a flush, which makes completed writes durable.
//
// The part of the caller:
//
// `disk` is a started disk, and no other call with it is under way.
enum virtio_blk_outcome virtio_blk_flush(struct virtio_blk_disk *disk, void *token);

// Tells the device of the requests that were taken. One call is enough for any number of them.
//
// The part of the caller:
//
// `disk` is a started disk, and no other call with it is under way.
void virtio_blk_notify(struct virtio_blk_disk *disk);

// Calls `completed` for each request that is over, and answers how it is with the device.
//
// The part of the caller:
//
// `disk` is a started disk, and no other call with it is under way. `completed` can be called with `context`.
enum virtio_blk_outcome virtio_blk_poll(struct virtio_blk_disk *disk,
                                        virtio_blk_completed completed,
                                        void *context);

// The same in the handler of an interrupt of the device, which is acknowledged.
//
// The part of the caller:
//
// As for `virtio_blk_poll`.
enum virtio_blk_outcome virtio_blk_interrupt(struct virtio_blk_disk *disk,
                                             virtio_blk_completed completed,
                                             void *context);

// Resets the device, calls `completed` for each request that was in flight, and releases all memory. After `TimedOut` the disk is as
// it was, and can be shut down later; after `Ok` it is no disk any more, and the storage is free.
//
// The part of the caller:
//
// As for `virtio_blk_poll`.
enum virtio_blk_outcome virtio_blk_shut_down(struct virtio_blk_disk *disk,
                                             virtio_blk_completed completed,
                                             void *context);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* VIRTIO_BLK_DRIVER_H */
