//! Few tasks, and more than there are slots, change bytes that share blocks, and are dropped at any time: none is stuck, and each finds what it has written last.

mod common;

use common::{LockedDisk, Task, finish, small, start_with};
use mutex::raw_impls::local::LocalRawMutex;
use proptest::prelude::*;
use virtio_blk_async::{ByteRange, mutex};
use virtio_blk_model::{CompletionOrder, Model, ModelConfig, feature};
use virtio_core::InterruptSource;

/// Tasks at most.
const TASKS: usize = if cfg!(miri) { 6 } else { 24 };

/// Bytes that a task writes and finds again.
async fn change(part: ByteRange<&LockedDisk<LocalRawMutex, 20>>, content: u8) {
    let bytes = part.len() as usize;
    let mut found = vec![0; bytes];
    part.write_at(0, &vec![content; bytes]).await.expect("it is written");
    if content.is_multiple_of(3) {
        part.flush().await.expect("it is flushed");
    }
    part.read_at(0, &mut found).await.expect("it is read");
    assert!(found.iter().all(|&byte| byte == content), "an older write is there");
}

/// What happens next: a task is polled if it was woken, the device answers, or a task is dropped.
#[derive(Clone, Copy, Debug)]
enum Step {
    Poll(usize),
    Answer(usize),
    Drop(usize),
    Look,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (0..TASKS).prop_map(Step::Poll),
        3 => (1usize..9).prop_map(Step::Answer),
        2 => (0..TASKS).prop_map(Step::Drop),
        2 => Just(Step::Look),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(if cfg!(miri) { 1 } else { 96 }) })]

    #[test]
    fn neighbours_that_are_dropped_leave_each_other_alone(
        steps in prop::collection::vec(step(), 1..if cfg!(miri) { 40 } else { 600 }),
        count in prop_oneof![Just(2), Just(3), Just(TASKS)],
        bytes in prop_oneof![Just(1024usize), Just(1500), Just(100)],
        indirect: bool,
        polled: bool,
        block_shift in prop_oneof![Just(9u32), Just(10), Just(12)],
        order in prop_oneof![Just(CompletionOrder::InOrder), Just(CompletionOrder::Reverse)],
    ) {
        let config = if indirect { small() } else { small().withdraw(feature::INDIRECT_DESC) };
        let model = Model::new(ModelConfig { block_size: 1 << block_shift, ..config });
        model.set_order(order);
        let disk: LockedDisk<LocalRawMutex, 20> = start_with(&model, 1 << block_shift);
        if polled {
            disk.stop_listening();
        }
        let part = |number: usize| {
            let start = (number * bytes) as u64;
            ByteRange::whole(&disk).part(start..start + bytes as u64).expect("it is on the disk")
        };
        let mut content = vec![1u8; count];
        let mut tasks: Vec<_> = (0..count).map(|number| Task::new(change(part(number), 1))).collect();
        let look = || {
            if polled {
                disk.poll().expect("a live device");
            } else if model.interrupt_line() {
                disk.on_interrupt(InterruptSource::Line).expect("a live device");
            }
        };
        for step in steps {
            match step {
                Step::Poll(number) => drop(tasks[number % count].poll_if_woken()),
                Step::Answer(limit) => drop(model.process(limit)),
                Step::Look => look(),
                Step::Drop(number) => {
                    let number = number % count;
                    content[number] = content[number].wrapping_add(1);
                    tasks[number] = Task::new(change(part(number), content[number]));
                }
            }
        }
        while !tasks.iter().all(Task::is_over) {
            let woken = tasks.iter_mut().filter_map(|task| task.poll_if_woken().then_some(())).count();
            let answered = model.process(3);
            look();
            prop_assert!(woken + answered > 0 || tasks.iter().any(|task| !task.is_over() && task.is_woken()), "a task is stuck");
        }
        let after = model.read_disk(0, (count * bytes).div_ceil(512) as u64);
        for (number, content) in content.iter().enumerate() {
            prop_assert!(after[number * bytes..][..bytes].iter().all(|byte| byte == content), "{}", number);
        }
        drop(tasks);
        while model.process(9) > 0 {
            look();
        }
        look();
        finish(&model, disk);
    }
}
