//! Many tasks on one disk, under executors of `futures`, on one thread and on several.

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::thread;

use common::{BLOCK_BYTES, LockedDisk, TestDisk, finish, interrupt, pattern, rig, serve, start_with};
use futures::executor::{LocalPool, ThreadPool, block_on};
use futures::future::{join_all, poll_fn};
use futures::task::{LocalSpawnExt, SpawnExt};
use mutex::raw_impls::cs::CriticalSectionRawMutex;
use mutex::raw_impls::local::LocalRawMutex;
use virtio_blk_async::{AsyncBlockIo, ByteRange, Sector, mutex};
use virtio_blk_model::{CompletionOrder, Model, ModelConfig};

const TASKS: u64 = if cfg!(miri) { 3 } else { 12 };
const ROUNDS: u64 = if cfg!(miri) { 2 } else { 8 };
/// Sectors that a task has for itself.
const SHARE: u64 = 64;

/// What one task does with its part of the disk, checked against memory. The numbers follow from that of the task.
async fn work(disk: &impl AsyncBlockIo, task: u64) {
    let first = task * SHARE;
    let mut plain = pattern(task, SHARE as usize * 512);
    disk.write(Sector(first), &plain).await.unwrap();
    // Bytes that are not aligned, and share blocks with those of the neighbour at neither end.
    let range = ByteRange::whole(disk)
        .part(first * 512..(first + SHARE) * 512)
        .unwrap_or_else(|_| panic!("a part of it"));
    for round in 0..ROUNDS {
        let seed = task * 31 + round * 7;
        let len = (seed * 97 % (3 * BLOCK_BYTES as u64)) as usize;
        let offset = (seed * 193 % (plain.len() - len) as u64) as usize;
        let content = pattern(seed, len);
        plain[offset..offset + len].copy_from_slice(&content);
        range.write_at(offset as u64, &content).await.unwrap();
        if seed.is_multiple_of(5) {
            range.flush().await.unwrap();
        }
        let mut back = vec![0; plain.len()];
        range.read_at(0, &mut back).await.unwrap();
        assert!(back == plain, "task {task}, round {round}");
    }
}

/// What the disk has to hold at the end.
fn check(model: &Model) {
    let written = (0..TASKS).map(|task| model.read_disk(task * SHARE, SHARE));
    assert!(written.into_iter().all(|share| share.iter().any(|&byte| byte != 0)));
}

/// Lets other tasks run once.
async fn yield_once() {
    let mut has_yielded = false;
    poll_fn(|context| {
        if has_yielded {
            return Poll::Ready(());
        }
        has_yielded = true;
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

#[test]
fn many_tasks_of_one_thread_share_a_disk() {
    for order in [CompletionOrder::InOrder, CompletionOrder::Shuffled(3)] {
        let model = Model::new(ModelConfig {
            order,
            ..ModelConfig::modern()
        });
        let disk: LockedDisk<LocalRawMutex, 3> = start_with(&model, BLOCK_BYTES);
        let mut pool = LocalPool::new();
        let is_over = AtomicBool::new(false);
        let device = async {
            while !is_over.load(Ordering::Relaxed) {
                serve(&model, &disk, 2);
                yield_once().await;
            }
        };
        let tasks = async {
            join_all((0..TASKS).map(|task| work(&disk, task))).await;
            is_over.store(true, Ordering::Relaxed);
        };
        pool.run_until(futures::future::join(tasks, device));
        check(&model);
        finish(&model, disk);
    }
}

#[test]
fn tasks_that_are_spawned_own_a_handle() {
    let (model, disk) = rig(ModelConfig::modern());
    let disk = std::rc::Rc::new(disk);
    let mut pool = LocalPool::new();
    for task in 0..TASKS {
        let disk = std::rc::Rc::clone(&disk);
        let spawned = pool.spawner().spawn_local(async move { work(&*disk, task).await });
        spawned.expect("the pool is there");
    }
    while !pool.try_run_one() || std::rc::Rc::strong_count(&disk) > 1 {
        serve(&model, &disk, 3);
    }
    check(&model);
    finish(&model, std::rc::Rc::into_inner(disk).expect("all tasks are over"));
}

#[test]
fn many_tasks_of_several_threads_share_a_disk() {
    let model = Model::new(ModelConfig {
        order: CompletionOrder::Shuffled(9),
        ..ModelConfig::modern()
    });
    let disk: Arc<TestDisk> = Arc::new(common::start(&model));
    let is_over = Arc::new(AtomicBool::new(false));
    // The device, and the hart that gets its interrupts.
    let hardware = {
        let (model, disk, is_over) = (model.clone(), Arc::clone(&disk), Arc::clone(&is_over));
        thread::spawn(move || {
            while !is_over.load(Ordering::Acquire) {
                model.process(3);
                interrupt(&model, &disk);
                thread::yield_now();
            }
        })
    };
    let pool = ThreadPool::builder().pool_size(4).create().unwrap();
    let tasks: Vec<_> = (0..TASKS)
        .map(|task| {
            let disk = Arc::clone(&disk);
            let future = async move { work(&*disk, task).await };
            pool.spawn_with_handle(future).expect("the pool is there")
        })
        .collect();
    block_on(join_all(tasks));
    is_over.store(true, Ordering::Release);
    hardware.join().expect("the device does not fail");
    drop(pool);
    check(&model);
    finish(&model, Arc::into_inner(disk).expect("all tasks are over"));
}

#[test]
fn a_disk_with_the_lock_of_critical_sections_is_shared_by_threads() {
    fn is_shared<T: Send + Sync>() {}
    fn can_move<T: Send>(_: T) {}
    is_shared::<LockedDisk<CriticalSectionRawMutex, 4>>();
    let (model, disk) = rig(common::small());
    let mut memory = [0; 512];
    can_move(disk.read(Sector(0), &mut memory));
    can_move(disk.write_bytes(1, &[0]));
    can_move(disk.flush());
    finish(&model, disk);
}
