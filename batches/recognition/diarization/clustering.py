"""Which pieces of speech are the same person's.

Average-linkage agglomerative clustering of voice prints by cosine distance, with what segmentation already
knows as a bias: pieces of one local speaker are probably one person, and two local speakers of one window
are probably two. Against pyannote's centroid linkage the same threshold then serves short and long files:
anything between 0.58 and 0.66 gave about the same error.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import squareform

from batches.recognition.diarization.embedding import SpeakerEmbeddings
from batches.recognition.diarization.speech_segments import SpeechSegments

MOST_SPEAKERS = 30  # of a file, where no maximum is set

# Cosine distances, tuned together on meeting clips and on readers joined at random.
_THRESHOLD = 0.63  # mean distance above which two clusters are two people
_SAME_LOCAL_SPEAKER = 0.2  # taken off between pieces of one local speaker
_OTHER_LOCAL_SPEAKER = 0.3  # added between local speakers of one window
_PRIOR = 0.1  # the same two, in similarity, when a piece is assigned to a cluster

_RELIABLE = 1.5  # s of speech from which a voice print takes part in clustering
_LEAST_SPEECH = 1.5  # s of speech that a cluster needs to be a person, or ...
_LEAST_SHARE = 0.005  # ... this share of all speech, ...
_LEAST_SPEECH_LONG = 8.0  # ... but no more than this: somebody may say little in a long meeting
_MOST_PIECES = 4_000  # that are clustered; the others are assigned. Bounds memory: 3 h have about 4,300

Labels = npt.NDArray[np.int64]


def cluster_segments(
    pieces: SpeechSegments, prints: SpeakerEmbeddings, *, min_speakers: int = -1, max_speakers: int = -1
) -> Labels:
    """(N,) the person of each piece, numbered from 0; -1 for pieces without a voice print to go by.

    ``min_speakers`` and ``max_speakers`` bound the number of people, -1 means not set. Fewer than the
    minimum come back where there are fewer pieces than that.
    """
    least = max(1, min_speakers)
    most = max(least, max_speakers if max_speakers > 0 else MOST_SPEAKERS)
    labels = np.full(len(pieces), -1, dtype=np.int64)
    reliable = _reliable_pieces(prints, least)
    if not reliable.size:
        return labels
    labels[reliable] = _cluster(pieces, prints, reliable, least, most)
    centroids = _centroids(prints, labels)
    _assign_rest(pieces, prints, labels, centroids)
    return labels


def _reliable_pieces(prints: SpeakerEmbeddings, least: int) -> npt.NDArray[np.int64]:
    """SpeechSegments to cluster: the long enough ones, or the longest ones where these are too few."""
    longest_first = np.argsort(-prints.seconds, kind="stable")
    count = int((prints.seconds >= _RELIABLE).sum())
    heard = int((prints.seconds > 0).sum())
    return np.sort(longest_first[: min(heard, max(least, min(count, _MOST_PIECES)))])


def _cluster(
    pieces: SpeechSegments, prints: SpeakerEmbeddings, chosen: npt.NDArray[np.int64], least: int, most: int
) -> Labels:
    """Cluster numbers of the chosen pieces; -1 for those of clusters too small to be a person."""
    seconds = prints.seconds[chosen]
    if chosen.size == 1:
        return np.zeros(1, dtype=np.int64)
    tree = linkage(squareform(_distances(pieces, prints, chosen), checks=False), method="average")
    share = min(_LEAST_SPEECH_LONG, _LEAST_SHARE * float(seconds.sum()))
    smallest = max(_LEAST_SPEECH, share)
    labels = _drop_small(fcluster(tree, _THRESHOLD, criterion="distance"), seconds, smallest)
    found = int(labels.max()) + 1
    if found > most:
        for count in range(found, 0, -1):
            labels = _drop_small(fcluster(tree, count, criterion="maxclust"), seconds, smallest)
            if labels.max() < most:
                break
    elif found < least:
        labels = _at_least(tree, seconds, smallest, least)
    return labels


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
    pieces: SpeechSegments, prints: SpeakerEmbeddings, chosen: npt.NDArray[np.int64]
) -> npt.NDArray[np.float32]:
    """(M, M) cosine distances, biased by what segmentation knows."""
    vectors = prints.vectors[chosen]
    windows, speakers = pieces.windows[chosen], pieces.speakers[chosen]
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


def _centroids(prints: SpeakerEmbeddings, labels: Labels) -> npt.NDArray[np.float32]:
    """(people, 192) mean voice prints, of length 1."""
    people = range(int(labels.max()) + 1)
    rows: npt.NDArray[np.float32] = np.stack([prints.vectors[labels == one].mean(axis=0) for one in people])
    rows /= np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9)
    return rows


def _assign_rest(
    pieces: SpeechSegments, prints: SpeakerEmbeddings, labels: Labels, centroids: npt.NDArray[np.float32]
) -> None:
    """Give each piece without a label its most similar person, in place.

    A person found for the same local speaker, at the nearest piece in time, is favoured; people found for
    the other local speakers of the window are not. A piece with neither voice print nor such a neighbour
    keeps -1.
    """
    known = labels.copy()
    starts = np.searchsorted(pieces.windows, np.unique(pieces.windows), side="left")
    for start, end in zip(starts, [*starts[1:], len(pieces)], strict=True):
        window = np.arange(start, end)
        for piece in window[known[window] < 0]:
            scores = centroids @ prints.vectors[piece]
            labelled = window[known[window] >= 0]
            mine = labelled[pieces.speakers[labelled] == pieces.speakers[piece]]
            others = labelled[pieces.speakers[labelled] != pieces.speakers[piece]]
            if not prints.seconds[piece] and not mine.size:
                continue
            taken = np.setdiff1d(known[others], known[mine])
            scores[taken] -= _PRIOR
            if mine.size:
                scores[known[mine[np.abs(mine - piece).argmin()]]] += _PRIOR
            labels[piece] = scores.argmax()
