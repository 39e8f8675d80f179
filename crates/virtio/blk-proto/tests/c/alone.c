/* The header stands alone: it includes what it uses. */
#include "virtio_blk.h"

/* A request for one sector as a driver would write it. */
struct virtio_blk_request_header read_of(uint64_t sector);

struct virtio_blk_request_header read_of(uint64_t sector)
{
    struct virtio_blk_request_header header = { VIRTIO_BLK_T_IN, 0, sector };
    return header;
}
