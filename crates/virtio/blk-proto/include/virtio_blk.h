/* The VirtIO block protocol (VirtIO 1.4), made from the crate virtio-blk-proto by `cargo xtask generate header`. */

#ifndef VIRTIO_BLK_PROTO_H
#define VIRTIO_BLK_PROTO_H

#include <stddef.h>
#include <stdint.h>
/* Little-endian in memory, on any machine. */
typedef uint16_t virtio_le16;
typedef uint32_t virtio_le32;
typedef uint64_t virtio_le64;

#ifndef __cplusplus
#define VIRTIO_BLK_ASSERT _Static_assert
#else
#define VIRTIO_BLK_ASSERT static_assert
#endif

// Feature bits.
#define VIRTIO_BLK_F_BARRIER 0
#define VIRTIO_BLK_F_SIZE_MAX 1
#define VIRTIO_BLK_F_SEG_MAX 2
#define VIRTIO_BLK_F_GEOMETRY 4
#define VIRTIO_BLK_F_RO 5
#define VIRTIO_BLK_F_BLK_SIZE 6
#define VIRTIO_BLK_F_SCSI 7
#define VIRTIO_BLK_F_FLUSH 9
#define VIRTIO_BLK_F_TOPOLOGY 10
#define VIRTIO_BLK_F_CONFIG_WCE 11
#define VIRTIO_BLK_F_MQ 12
#define VIRTIO_BLK_F_DISCARD 13
#define VIRTIO_BLK_F_WRITE_ZEROES 14
#define VIRTIO_BLK_F_LIFETIME 15
#define VIRTIO_BLK_F_SECURE_ERASE 16
#define VIRTIO_BLK_F_ZONED 17

// Flags of a range.
#define VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP 0x00000001

// Bytes of an identification string.
#define VIRTIO_BLK_ID_BYTES 20

// `zoned_model` of the configuration space.
#define VIRTIO_BLK_Z_NONE 0
#define VIRTIO_BLK_Z_HM 1
#define VIRTIO_BLK_Z_HA 2

// `z_type` of a zone.
#define VIRTIO_BLK_ZT_CONV 1
#define VIRTIO_BLK_ZT_SWR 2
#define VIRTIO_BLK_ZT_SWP 3

// `z_state` of a zone.
#define VIRTIO_BLK_ZS_NOT_WP 0
#define VIRTIO_BLK_ZS_EMPTY 1
#define VIRTIO_BLK_ZS_IOPEN 2
#define VIRTIO_BLK_ZS_EOPEN 3
#define VIRTIO_BLK_ZS_CLOSED 4
#define VIRTIO_BLK_ZS_RDONLY 13
#define VIRTIO_BLK_ZS_FULL 14
#define VIRTIO_BLK_ZS_OFFLINE 15


// Byte offset of the `writeback` field, the only one a driver writes.
//
// Not part of `BlkConfig`, because it must not be read before the features are settled (`BLK-D-04`).
#define VIRTIO_BLK_WRITEBACK_OFFSET 32


// The configuration space as it lies in memory, for code that plays the device.
struct virtio_blk_config_space {
  virtio_le64 capacity;
  virtio_le32 size_max;
  virtio_le32 seg_max;
  virtio_le16 cylinders;
  uint8_t heads;
  uint8_t sectors;
  virtio_le32 blk_size;
  uint8_t physical_block_exp;
  uint8_t alignment_offset;
  virtio_le16 min_io_size;
  virtio_le32 opt_io_size;
  uint8_t writeback;
  uint8_t unused0;
  virtio_le16 num_queues;
  virtio_le32 max_discard_sectors;
  virtio_le32 max_discard_seg;
  virtio_le32 discard_sector_alignment;
  virtio_le32 max_write_zeroes_sectors;
  virtio_le32 max_write_zeroes_seg;
  uint8_t write_zeroes_may_unmap;
  uint8_t unused1[3];
  virtio_le32 max_secure_erase_sectors;
  virtio_le32 max_secure_erase_seg;
  virtio_le32 secure_erase_sector_alignment;
  virtio_le32 zone_sectors;
  virtio_le32 max_open_zones;
  virtio_le32 max_active_zones;
  virtio_le32 max_append_sectors;
  virtio_le32 write_granularity;
  uint8_t zoned_model;
  uint8_t unused2[3];
};
// Bytes of the whole configuration space.
#define virtio_blk_config_space_BYTES 96

// The readable start of every request.
struct virtio_blk_request_header {
  // `RequestType`.
  virtio_le32 kind;
  // Zero; legacy devices took an I/O priority here (`BLK-N-07`).
  virtio_le32 reserved;
  // The position, for requests that have one, else zero (`BLK-N-06`).
  virtio_le64 sector;
};
// Bytes of a header.
#define virtio_blk_request_header_BYTES 16

// One range of a discard, write-zeroes or secure-erase request.
struct virtio_blk_range {
  // First sector.
  virtio_le64 sector;
  // Number of sectors.
  virtio_le32 sectors;
  // `RangeFlags`.
  virtio_le32 flags;
};
// Bytes of one range.
#define virtio_blk_range_BYTES 16

// The answer to a lifetime request as it lies in memory (`BLK-N-17`).
struct virtio_blk_lifetime_answer {
  // How far the reserved blocks are used up; see `ReservedBlocks`.
  virtio_le16 pre_eol_info;
  // Wear of single-level cells; see `Wear`.
  virtio_le16 type_a;
  // Wear of multi-level cells; see `Wear`.
  virtio_le16 type_b;
};
// Bytes of the answer.
#define virtio_blk_lifetime_answer_BYTES 6

// The status byte as the device wrote it, unchecked.
typedef uint8_t VIRTIO_BLK_S;
// Success.
#define VIRTIO_BLK_S_OK 0
// The device or its storage failed.
#define VIRTIO_BLK_S_IOERR 1
// The device does not support the request.
#define VIRTIO_BLK_S_UNSUPP 2
// Zoned: the command does not fit the zone.
#define VIRTIO_BLK_S_ZONE_INVALID_CMD 3
// Zoned: not at the write pointer.
#define VIRTIO_BLK_S_ZONE_UNALIGNED_WP 4
// Zoned: too many open zones.
#define VIRTIO_BLK_S_ZONE_OPEN_RESOURCE 5
// Zoned: too many active zones.
#define VIRTIO_BLK_S_ZONE_ACTIVE_RESOURCE 6
// The content before the request. No device writes it, so it shows that a status was never written (`BLK-N-18`).
#define VIRTIO_BLK_S_NOT_WRITTEN 255

// The writable part of an append as it lies in memory; other requests have a lone status byte there.
struct virtio_blk_append_tail {
  // The position of the data; undefined unless the append succeeded. See `position`.
  virtio_le64 append_sector;
  // `Status`.
  uint8_t status;
};
// Bytes of the tail.
#define virtio_blk_append_tail_BYTES 9

// One zone as it lies in a report. The names of the fields are those of the specification.
//
// The device wrote it, so no field is valid until checked: see `is_plausible`.
struct virtio_blk_zone {
  // Sectors that can be written while the zone is empty.
  virtio_le64 z_cap;
  // First sector.
  virtio_le64 z_start;
  // The position of the next write; see `write_pointer` for when it has a meaning.
  virtio_le64 z_wp;
  // `ZoneType`.
  uint8_t z_type;
  // `ZoneState`.
  uint8_t z_state;
  // Reserved.
  uint8_t reserved[38];
};
// Bytes of one description.
#define virtio_blk_zone_BYTES 64

// The start of a zone report as it lies in memory.
struct virtio_blk_zone_report_header {
  // Number of complete descriptions that follow, unchecked (`BLK-N-24`).
  virtio_le64 nr_zones;
  // Reserved.
  uint8_t reserved[56];
};
// Bytes of the header.
#define virtio_blk_zone_report_header_BYTES 64

// The type of a request.
typedef uint32_t VIRTIO_BLK_T;
// Read.
#define VIRTIO_BLK_T_IN 0
// Write.
#define VIRTIO_BLK_T_OUT 1
// Legacy: a SCSI command that reads.
#define VIRTIO_BLK_T_SCSI_CMD 2
// Legacy: a SCSI command that writes.
#define VIRTIO_BLK_T_SCSI_CMD_OUT 3
// Make completed writes durable.
#define VIRTIO_BLK_T_FLUSH 4
// Legacy: the same as flush (`LEG-D-24`).
#define VIRTIO_BLK_T_FLUSH_OUT 5
// Read the identification string.
#define VIRTIO_BLK_T_GET_ID 8
// Read the wear estimate.
#define VIRTIO_BLK_T_GET_LIFETIME 10
// The content of ranges is not needed any more.
#define VIRTIO_BLK_T_DISCARD 11
// Ranges shall read as zeroes.
#define VIRTIO_BLK_T_WRITE_ZEROES 13
// Ranges shall be unrecoverable.
#define VIRTIO_BLK_T_SECURE_ERASE 14
// Zoned: write at the zone's write pointer.
#define VIRTIO_BLK_T_ZONE_APPEND 15
// Zoned: describe zones.
#define VIRTIO_BLK_T_ZONE_REPORT 16
// Zoned: open a zone.
#define VIRTIO_BLK_T_ZONE_OPEN 18
// Zoned: close a zone.
#define VIRTIO_BLK_T_ZONE_CLOSE 20
// Zoned: finish a zone.
#define VIRTIO_BLK_T_ZONE_FINISH 22
// Zoned: reset a zone.
#define VIRTIO_BLK_T_ZONE_RESET 24
// Zoned: reset all zones.
#define VIRTIO_BLK_T_ZONE_RESET_ALL 26
// Legacy: or-ed to a type, the request is a barrier (`LEG-N-18`).
#define VIRTIO_BLK_T_BARRIER 0x80000000

#endif  /* VIRTIO_BLK_PROTO_H */


// Where each field is.
VIRTIO_BLK_ASSERT(offsetof(struct virtio_blk_config_space, capacity) == 0, "capacity of virtio_blk_config_space");
VIRTIO_BLK_ASSERT(offsetof(struct virtio_blk_config_space, size_max) == 8, "size_max of virtio_blk_config_space");
VIRTIO_BLK_ASSERT(offsetof(struct virtio_blk_config_space, seg_max) == 12, "seg_max of virtio_blk_config_space");
VIRTIO_BLK_ASSERT(offsetof(struct virtio_blk_config_space, cylinders) == 16, "cylinders of virtio_blk_config_space");
VIRTIO_BLK_ASSERT(offsetof(struct virtio_blk_config_space, heads) == 18, "heads of virtio_blk_config_space");
VIRTIO_BLK_ASSERT(offsetof(struct virtio_blk_config_space, sectors) == 19, "sectors of virtio_blk_config_space");
VIRTIO_BLK_ASSERT(offsetof(struct virtio_blk_config_space, blk_size) == 20, "blk_size of virtio_blk_config_space");
VIRTIO_BLK_ASSERT(offsetof(struct virtio_blk_config_space, physical_block_exp) == 24, "physical_block_exp of virtio_blk_config_space");
VIRTIO_BLK_ASSERT(offsetof(struct virtio_blk_config_space, alignment_offset) == 25, "alignment_offset of virtio_blk_config_space");
VIRTIO_BLK_ASSERT(offsetof(struct virtio_blk_config_space, min_io_size) == 26, "min_io_size of virtio_blk_config_space");
VIRTIO_BLK_ASSERT(offsetof(struct virtio_blk_config_space, opt_io_size) == 28, "opt_io_size of virtio_blk_config_space");
VIRTIO_BLK_ASSERT(offsetof(struct virtio_blk_config_space, writeback) == 32, "writeback of virtio_blk_config_space");
VIRTIO_BLK_ASSERT(offsetof(struct virtio_blk_config_space, unused0) == 33, "unused0 of virtio_blk_config_space");
VIRTIO_BLK_ASSERT(offsetof(struct virtio_blk_config_space, num_queues) == 34, "num_queues of virtio_blk_config_space");
VIRTIO_BLK_ASSERT(offsetof(struct virtio_blk_config_space, max_discard_sectors) == 36, "max_discard_sectors of virtio_blk_config_space");
VIRTIO_BLK_ASSERT(offsetof(struct virtio_blk_config_space, max_discard_seg) == 40, "max_discard_seg of virtio_blk_config_space");
VIRTIO_BLK_ASSERT(offsetof(struct virtio_blk_config_space, discard_sector_alignment) == 44, "discard_sector_alignment of virtio_blk_config_space");
VIRTIO_BLK_ASSERT(offsetof(struct virtio_blk_config_space, max_write_zeroes_sectors) == 48, "max_write_zeroes_sectors of virtio_blk_config_space");
VIRTIO_BLK_ASSERT(offsetof(struct virtio_blk_config_space, max_write_zeroes_seg) == 52, "max_write_zeroes_seg of virtio_blk_config_space");
VIRTIO_BLK_ASSERT(offsetof(struct virtio_blk_config_space, write_zeroes_may_unmap) == 56, "write_zeroes_may_unmap of virtio_blk_config_space");
VIRTIO_BLK_ASSERT(offsetof(struct virtio_blk_config_space, unused1) == 57, "unused1 of virtio_blk_config_space");
VIRTIO_BLK_ASSERT(offsetof(struct virtio_blk_config_space, max_secure_erase_sectors) == 60, "max_secure_erase_sectors of virtio_blk_config_space");
VIRTIO_BLK_ASSERT(offsetof(struct virtio_blk_config_space, max_secure_erase_seg) == 64, "max_secure_erase_seg of virtio_blk_config_space");
VIRTIO_BLK_ASSERT(offsetof(struct virtio_blk_config_space, secure_erase_sector_alignment) == 68, "secure_erase_sector_alignment of virtio_blk_config_space");
VIRTIO_BLK_ASSERT(offsetof(struct virtio_blk_config_space, zone_sectors) == 72, "zone_sectors of virtio_blk_config_space");
VIRTIO_BLK_ASSERT(offsetof(struct virtio_blk_config_space, max_open_zones) == 76, "max_open_zones of virtio_blk_config_space");
VIRTIO_BLK_ASSERT(offsetof(struct virtio_blk_config_space, max_active_zones) == 80, "max_active_zones of virtio_blk_config_space");
VIRTIO_BLK_ASSERT(offsetof(struct virtio_blk_config_space, max_append_sectors) == 84, "max_append_sectors of virtio_blk_config_space");
VIRTIO_BLK_ASSERT(offsetof(struct virtio_blk_config_space, write_granularity) == 88, "write_granularity of virtio_blk_config_space");
VIRTIO_BLK_ASSERT(offsetof(struct virtio_blk_config_space, zoned_model) == 92, "zoned_model of virtio_blk_config_space");
VIRTIO_BLK_ASSERT(offsetof(struct virtio_blk_config_space, unused2) == 93, "unused2 of virtio_blk_config_space");
VIRTIO_BLK_ASSERT(sizeof(struct virtio_blk_config_space) == 96, "size of virtio_blk_config_space");

VIRTIO_BLK_ASSERT(offsetof(struct virtio_blk_request_header, kind) == 0, "kind of virtio_blk_request_header");
VIRTIO_BLK_ASSERT(offsetof(struct virtio_blk_request_header, reserved) == 4, "reserved of virtio_blk_request_header");
VIRTIO_BLK_ASSERT(offsetof(struct virtio_blk_request_header, sector) == 8, "sector of virtio_blk_request_header");
VIRTIO_BLK_ASSERT(sizeof(struct virtio_blk_request_header) == 16, "size of virtio_blk_request_header");

VIRTIO_BLK_ASSERT(offsetof(struct virtio_blk_range, sector) == 0, "sector of virtio_blk_range");
VIRTIO_BLK_ASSERT(offsetof(struct virtio_blk_range, sectors) == 8, "sectors of virtio_blk_range");
VIRTIO_BLK_ASSERT(offsetof(struct virtio_blk_range, flags) == 12, "flags of virtio_blk_range");
VIRTIO_BLK_ASSERT(sizeof(struct virtio_blk_range) == 16, "size of virtio_blk_range");

VIRTIO_BLK_ASSERT(offsetof(struct virtio_blk_lifetime_answer, pre_eol_info) == 0, "pre_eol_info of virtio_blk_lifetime_answer");
VIRTIO_BLK_ASSERT(offsetof(struct virtio_blk_lifetime_answer, type_a) == 2, "type_a of virtio_blk_lifetime_answer");
VIRTIO_BLK_ASSERT(offsetof(struct virtio_blk_lifetime_answer, type_b) == 4, "type_b of virtio_blk_lifetime_answer");
VIRTIO_BLK_ASSERT(sizeof(struct virtio_blk_lifetime_answer) == 6, "size of virtio_blk_lifetime_answer");

VIRTIO_BLK_ASSERT(offsetof(struct virtio_blk_append_tail, append_sector) == 0, "append_sector of virtio_blk_append_tail");
VIRTIO_BLK_ASSERT(offsetof(struct virtio_blk_append_tail, status) == 8, "status of virtio_blk_append_tail");
VIRTIO_BLK_ASSERT(sizeof(struct virtio_blk_append_tail) >= 9, "size of virtio_blk_append_tail");

VIRTIO_BLK_ASSERT(offsetof(struct virtio_blk_zone, z_cap) == 0, "z_cap of virtio_blk_zone");
VIRTIO_BLK_ASSERT(offsetof(struct virtio_blk_zone, z_start) == 8, "z_start of virtio_blk_zone");
VIRTIO_BLK_ASSERT(offsetof(struct virtio_blk_zone, z_wp) == 16, "z_wp of virtio_blk_zone");
VIRTIO_BLK_ASSERT(offsetof(struct virtio_blk_zone, z_type) == 24, "z_type of virtio_blk_zone");
VIRTIO_BLK_ASSERT(offsetof(struct virtio_blk_zone, z_state) == 25, "z_state of virtio_blk_zone");
VIRTIO_BLK_ASSERT(offsetof(struct virtio_blk_zone, reserved) == 26, "reserved of virtio_blk_zone");
VIRTIO_BLK_ASSERT(sizeof(struct virtio_blk_zone) == 64, "size of virtio_blk_zone");

VIRTIO_BLK_ASSERT(offsetof(struct virtio_blk_zone_report_header, nr_zones) == 0, "nr_zones of virtio_blk_zone_report_header");
VIRTIO_BLK_ASSERT(offsetof(struct virtio_blk_zone_report_header, reserved) == 8, "reserved of virtio_blk_zone_report_header");
VIRTIO_BLK_ASSERT(sizeof(struct virtio_blk_zone_report_header) == 64, "size of virtio_blk_zone_report_header");

