/*
 * The numbers of the header are those of Linux.
 *
 * Both headers define the same names. A second definition that differs from the first is an error of the compiler, so Linux's comes
 * first. What older headers of Linux lack is compared with the numbers of the specification.
 */
#include <linux/virtio_blk.h>

#ifdef VIRTIO_BLK_T_ZONE_APPEND
#define LINUX_HAS_ZONES
#endif

#include "virtio_blk.h"

#define SAME(theirs, their_field, ours, our_field)                                                      \
    _Static_assert(offsetof(struct theirs, their_field) == offsetof(struct ours, our_field), #our_field); \
    _Static_assert(sizeof(((struct theirs *)0)->their_field) == sizeof(((struct ours *)0)->our_field), #our_field)

#define CONFIG(their_field, our_field) SAME(virtio_blk_config, their_field, virtio_blk_config_space, our_field)

CONFIG(capacity, capacity);
CONFIG(size_max, size_max);
CONFIG(seg_max, seg_max);
CONFIG(geometry.cylinders, cylinders);
CONFIG(geometry.heads, heads);
CONFIG(geometry.sectors, sectors);
CONFIG(blk_size, blk_size);
CONFIG(physical_block_exp, physical_block_exp);
CONFIG(alignment_offset, alignment_offset);
CONFIG(min_io_size, min_io_size);
CONFIG(opt_io_size, opt_io_size);
CONFIG(wce, writeback);
CONFIG(num_queues, num_queues);
CONFIG(max_discard_sectors, max_discard_sectors);
CONFIG(max_discard_seg, max_discard_seg);
CONFIG(discard_sector_alignment, discard_sector_alignment);
CONFIG(max_write_zeroes_sectors, max_write_zeroes_sectors);
CONFIG(max_write_zeroes_seg, max_write_zeroes_seg);
CONFIG(write_zeroes_may_unmap, write_zeroes_may_unmap);

SAME(virtio_blk_outhdr, type, virtio_blk_request_header, kind);
SAME(virtio_blk_outhdr, ioprio, virtio_blk_request_header, reserved);
SAME(virtio_blk_outhdr, sector, virtio_blk_request_header, sector);
_Static_assert(sizeof(struct virtio_blk_outhdr) == sizeof(struct virtio_blk_request_header), "header");

SAME(virtio_blk_discard_write_zeroes, sector, virtio_blk_range, sector);
SAME(virtio_blk_discard_write_zeroes, num_sectors, virtio_blk_range, sectors);
SAME(virtio_blk_discard_write_zeroes, flags, virtio_blk_range, flags);
_Static_assert(sizeof(struct virtio_blk_discard_write_zeroes) == sizeof(struct virtio_blk_range), "range");

/* Zones came to Linux later than the above, and secure erase not long before. */
#ifdef LINUX_HAS_ZONES
CONFIG(max_secure_erase_sectors, max_secure_erase_sectors);
CONFIG(max_secure_erase_seg, max_secure_erase_seg);
CONFIG(secure_erase_sector_alignment, secure_erase_sector_alignment);
CONFIG(zoned.zone_sectors, zone_sectors);
CONFIG(zoned.max_open_zones, max_open_zones);
CONFIG(zoned.max_active_zones, max_active_zones);
CONFIG(zoned.max_append_sectors, max_append_sectors);
CONFIG(zoned.write_granularity, write_granularity);
CONFIG(zoned.model, zoned_model);
_Static_assert(sizeof(struct virtio_blk_config) == sizeof(struct virtio_blk_config_space), "configuration");
SAME(virtio_blk_zone_descriptor, z_cap, virtio_blk_zone, z_cap);
SAME(virtio_blk_zone_descriptor, z_start, virtio_blk_zone, z_start);
SAME(virtio_blk_zone_descriptor, z_wp, virtio_blk_zone, z_wp);
SAME(virtio_blk_zone_descriptor, z_type, virtio_blk_zone, z_type);
SAME(virtio_blk_zone_descriptor, z_state, virtio_blk_zone, z_state);
SAME(virtio_blk_zone_report, nr_zones, virtio_blk_zone_report_header, nr_zones);
#endif

/* In the order of the specification. */
#define AT(field, offset) _Static_assert(offsetof(struct virtio_blk_config_space, field) == (offset), #field)
AT(max_secure_erase_sectors, 60);
AT(max_secure_erase_seg, 64);
AT(secure_erase_sector_alignment, 68);
AT(zone_sectors, 72);
AT(max_open_zones, 76);
AT(max_active_zones, 80);
AT(max_append_sectors, 84);
AT(write_granularity, 88);
AT(zoned_model, 92);
_Static_assert(sizeof(struct virtio_blk_config_space) == 96, "configuration");
_Static_assert(offsetof(struct virtio_blk_lifetime_answer, pre_eol_info) == 0, "pre_eol_info");
_Static_assert(offsetof(struct virtio_blk_lifetime_answer, type_a) == 2, "type_a");
_Static_assert(offsetof(struct virtio_blk_lifetime_answer, type_b) == 4, "type_b");
_Static_assert(sizeof(struct virtio_blk_lifetime_answer) == 6, "lifetime");
_Static_assert(offsetof(struct virtio_blk_append_tail, append_sector) == 0, "append_sector");
_Static_assert(offsetof(struct virtio_blk_append_tail, status) == 8, "status");
_Static_assert(offsetof(struct virtio_blk_zone, z_cap) == 0, "z_cap");
_Static_assert(offsetof(struct virtio_blk_zone, z_start) == 8, "z_start");
_Static_assert(offsetof(struct virtio_blk_zone, z_wp) == 16, "z_wp");
_Static_assert(offsetof(struct virtio_blk_zone, z_type) == 24, "z_type");
_Static_assert(offsetof(struct virtio_blk_zone, z_state) == 25, "z_state");
_Static_assert(sizeof(struct virtio_blk_zone) == 64, "zone");
_Static_assert(offsetof(struct virtio_blk_zone_report_header, nr_zones) == 0, "nr_zones");
_Static_assert(sizeof(struct virtio_blk_zone_report_header) == 64, "report");

#define IS(name, value) _Static_assert(VIRTIO_BLK_##name == (value), #name)
IS(F_LIFETIME, 15);
IS(F_SECURE_ERASE, 16);
IS(F_ZONED, 17);
IS(T_SCSI_CMD_OUT, 3);
IS(T_FLUSH_OUT, 5);
IS(T_GET_LIFETIME, 10);
IS(T_SECURE_ERASE, 14);
IS(T_ZONE_APPEND, 15);
IS(T_ZONE_REPORT, 16);
IS(T_ZONE_OPEN, 18);
IS(T_ZONE_CLOSE, 20);
IS(T_ZONE_FINISH, 22);
IS(T_ZONE_RESET, 24);
IS(T_ZONE_RESET_ALL, 26);
IS(S_ZONE_INVALID_CMD, 3);
IS(S_ZONE_UNALIGNED_WP, 4);
IS(S_ZONE_OPEN_RESOURCE, 5);
IS(S_ZONE_ACTIVE_RESOURCE, 6);
IS(Z_NONE, 0);
IS(Z_HM, 1);
IS(Z_HA, 2);
IS(ZT_CONV, 1);
IS(ZT_SWR, 2);
IS(ZT_SWP, 3);
IS(ZS_NOT_WP, 0);
IS(ZS_EMPTY, 1);
IS(ZS_IOPEN, 2);
IS(ZS_EOPEN, 3);
IS(ZS_CLOSED, 4);
IS(ZS_RDONLY, 13);
IS(ZS_FULL, 14);
IS(ZS_OFFLINE, 15);
IS(WRITEBACK_OFFSET, 32);
