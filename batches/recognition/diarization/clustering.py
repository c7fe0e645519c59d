"""Clustering of speech segments by speaker.

Average-linkage agglomerative clustering of embeddings by cosine distance. Segmentation biases the distances:
segments of one local speaker are probably of one speaker, and two local speakers of one window are probably
two. The threshold is higher for clusters with little speech. Unlike with pyannote's centroid linkage, one
threshold fits short and long files: values from 0.58 to 0.66 gave about the same error.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import squareform

from batches.recognition.diarization.embedding import SpeakerEmbeddings
from batches.recognition.diarization.speech_segments import SpeechSegments

MOST_SPEAKERS = 30  # of a file, if no maximum is set

# Cosine distances, tuned together on meeting clips and on readers joined at random.
_THRESHOLD = 0.63  # mean distance above which two clusters are two speakers
_SMALL_CLUSTER = 5.0  # s of speech below which the threshold rises, by up to ...
_SMALL_MARGIN = 0.12  # ... this much: embeddings of little speech lie far from all others by chance
_SAME_LOCAL_SPEAKER = 0.2  # subtracted between segments of one local speaker
_OTHER_LOCAL_SPEAKER = 0.3  # added between local speakers of one window
_PRIOR = 0.1  # the same two, in similarity, when a segment is assigned to a cluster

_RELIABLE = 1.5  # s of speech from which an embedding takes part in clustering
_LEAST_SPEECH = 1.5  # s of speech that a cluster needs to be a speaker, or ...
_LEAST_SHARE = 0.005  # ... this share of all speech, ...
_LEAST_SPEECH_LONG = 8.0  # ... but no more than this: a speaker may say little in a long meeting
_MOST_SEGMENTS = 4_000  # clustered; the others are assigned. Bounds memory: 3 h have about 4,300

Labels = npt.NDArray[np.int64]


def cluster_segments(
    segments: SpeechSegments, embeddings: SpeakerEmbeddings, *, min_speakers: int = -1, max_speakers: int = -1
) -> Labels:
    """(N,) speaker of each segment, numbered from 0; -1 for segments without a usable embedding.

    ``min_speakers`` and ``max_speakers`` bound the number of speakers, -1 means not set. Fewer than the
    minimum are found only where there are fewer segments than that.
    """
    least = max(1, min_speakers)
    most = max(least, max_speakers if max_speakers > 0 else MOST_SPEAKERS)
    labels = np.full(len(segments), -1, dtype=np.int64)
    reliable = _reliable_segments(embeddings, least)
    if not reliable.size:
        return labels
    labels[reliable] = _cluster(segments, embeddings, reliable, least, most)
    _assign_rest(segments, embeddings, labels, centroids(embeddings, labels))
    return labels


def _reliable_segments(embeddings: SpeakerEmbeddings, least: int) -> npt.NDArray[np.int64]:
    """Indices of the segments to cluster: those long enough, or the longest if these are too few."""
    longest_first = np.argsort(-embeddings.seconds, kind="stable")
    count = int((embeddings.seconds >= _RELIABLE).sum())
    heard = int((embeddings.seconds > 0).sum())
    return np.sort(longest_first[: min(heard, max(least, min(count, _MOST_SEGMENTS)))])


def _cluster(
    segments: SpeechSegments,
    embeddings: SpeakerEmbeddings,
    chosen: npt.NDArray[np.int64],
    least: int,
    most: int,
) -> Labels:
    """Cluster numbers of the chosen segments; -1 for those of clusters too small to be a speaker."""
    seconds = embeddings.seconds[chosen]
    if chosen.size == 1:
        return np.zeros(1, dtype=np.int64)
    tree = linkage(squareform(_distances(segments, embeddings, chosen), checks=False), method="average")
    share = min(_LEAST_SPEECH_LONG, _LEAST_SHARE * float(seconds.sum()))
    smallest = max(_LEAST_SPEECH, share)
    labels = _drop_small(_cut_tree(tree, seconds), seconds, smallest)
    found = int(labels.max()) + 1
    if found > most:
        for count in range(found, 0, -1):
            labels = _drop_small(fcluster(tree, count, criterion="maxclust"), seconds, smallest)
            if labels.max() < most:
                break
    elif found < least:
        labels = _at_least(tree, seconds, smallest, least)
    return labels


def _cut_tree(tree: npt.NDArray[np.float64], seconds: npt.NDArray[np.float32]) -> npt.NDArray[np.int32]:
    """(M,) cluster numbers: merges are undone from the root down while they join two speakers."""
    count = seconds.size
    speech = np.concatenate([seconds.astype(np.float64), np.zeros(len(tree))])
    for index, (left, right, _, _) in enumerate(tree):
        speech[count + index] = speech[int(left)] + speech[int(right)]
    labels = np.zeros(count, dtype=np.int32)
    separate = [2 * count - 2]  # the root
    number = 0
    while separate:
        node = separate.pop()
        if node >= count:
            left, right, distance = (
                int(tree[node - count, 0]),
                int(tree[node - count, 1]),
                tree[node - count, 2],
            )
            smaller = min(speech[left], speech[right])
            if distance > _THRESHOLD + _SMALL_MARGIN * max(0.0, 1 - smaller / _SMALL_CLUSTER):
                separate += [left, right]
                continue
        labels[_leaves(tree, node)] = number
        number += 1
    return labels


def _leaves(tree: npt.NDArray[np.float64], node: int) -> list[int]:
    count = len(tree) + 1
    found, waiting = [], [node]
    while waiting:
        each = waiting.pop()
        if each < count:
            found.append(each)
        else:
            waiting += [int(tree[each - count, 0]), int(tree[each - count, 1])]
    return found


def _at_least(
    tree: npt.NDArray[np.float64], seconds: npt.NDArray[np.float32], smallest: float, least: int
) -> Labels:
    """Cut deeper until enough clusters are large; where that never happens, small ones count too."""
    for count in range(least, min(seconds.size, 8 * least + 32) + 1):
        labels = _drop_small(fcluster(tree, count, criterion="maxclust"), seconds, smallest)
        if labels.max() + 1 == least:
            return labels
    return _drop_small(fcluster(tree, least, criterion="maxclust"), seconds, 0.0)


def _distances(
    segments: SpeechSegments, embeddings: SpeakerEmbeddings, chosen: npt.NDArray[np.int64]
) -> npt.NDArray[np.float32]:
    """(M, M) cosine distances, biased by the local speakers of segmentation."""
    vectors = embeddings.vectors[chosen]
    windows, speakers = segments.windows[chosen], segments.speakers[chosen]
    distances: npt.NDArray[np.float32] = 1.0 - vectors @ vectors.T
    same_window = windows[:, None] == windows
    same_speaker = speakers[:, None] == speakers
    distances[same_window & same_speaker] -= _SAME_LOCAL_SPEAKER
    distances[same_window & ~same_speaker] += _OTHER_LOCAL_SPEAKER
    np.maximum(distances, 0.0, out=distances)
    np.fill_diagonal(distances, 0.0)
    return distances


def _drop_small(clusters: npt.NDArray[np.int32], seconds: npt.NDArray[np.float32], smallest: float) -> Labels:
    """Renumber from 0 the clusters with enough speech, or the largest if none has; -1 for the others."""
    numbers, inverse = np.unique(clusters, return_inverse=True)
    speech = np.bincount(inverse, weights=seconds)
    large = speech >= smallest
    large[speech.argmax()] = True
    renumbered = np.full(numbers.size, -1, dtype=np.int64)
    renumbered[large] = np.arange(large.sum())
    labels: Labels = renumbered[inverse]
    return labels


def centroids(embeddings: SpeakerEmbeddings, labels: Labels) -> npt.NDArray[np.float32]:
    """(speakers, 192) mean embeddings of the labelled segments, of length 1."""
    speakers = range(int(labels.max()) + 1)
    rows: npt.NDArray[np.float32] = np.stack(
        [embeddings.vectors[labels == one].mean(axis=0) for one in speakers]
    )
    rows /= np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9)
    return rows


def _assign_rest(
    segments: SpeechSegments,
    embeddings: SpeakerEmbeddings,
    labels: Labels,
    voices: npt.NDArray[np.float32],
) -> None:
    """Label the remaining segments with the most similar speaker, in place.

    The similarity gets a bonus for the speaker of the same local speaker's nearest segment, and a penalty for
    those of the window's other local speakers. A segment with neither an embedding nor such a neighbour keeps
    -1.
    """
    known = labels.copy()
    starts = np.searchsorted(segments.windows, np.unique(segments.windows), side="left")
    for start, end in zip(starts, [*starts[1:], len(segments)], strict=True):
        window = np.arange(start, end)
        for segment in window[known[window] < 0]:
            scores = voices @ embeddings.vectors[segment]
            labelled = window[known[window] >= 0]
            mine = labelled[segments.speakers[labelled] == segments.speakers[segment]]
            others = labelled[segments.speakers[labelled] != segments.speakers[segment]]
            if not embeddings.seconds[segment] and not mine.size:
                continue
            taken = np.setdiff1d(known[others], known[mine])
            scores[taken] -= _PRIOR
            if mine.size:
                scores[known[mine[np.abs(mine - segment).argmin()]]] += _PRIOR
            labels[segment] = scores.argmax()
